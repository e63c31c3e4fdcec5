"""The figures by name: each draws a folder's committed tables, without loading what trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reports.ablations import figure as ablations
from reports.displacement import figure as displacement
from reports.estimators import figure as estimators
from reports.figure2 import figure as figure2
from reports.figure3 import figure as figure3
from reports.gradient_error import figure as gradient_error
from reports.landscape import figure as landscape
from reports.parity import figure as parity
from reports.provenance import require_own_tables
from reports.style import use_style
from reports.table1 import figure as table1

_DRAW: dict[str, Callable[[Path], None]] = {
    "figure3": figure3.draw,
    "estimators": estimators.draw,
    "figure2": figure2.draw,
    "ablations": ablations.draw,
    "table1": table1.draw,
    "gradient_error": gradient_error.draw,
    "displacement": displacement.draw,
    "landscape": landscape.draw,
    "parity": parity.draw,
}
NAMES = tuple(_DRAW)


def draw(name: str, folder: Path) -> list[Path]:
    """Draw a report's figures beside its tables; the images that are there then.

    Args:
        name: of the report.
        folder: with its tables and provenance.

    Raises:
        ValueError: tables that are missing, damaged or not those of the provenance.
    """
    require_own_tables(folder)
    use_style()
    _DRAW[name](folder)
    return sorted(folder.glob("*.png"))


def published(reports: Path) -> list[tuple[str, Path]]:
    """Every folder with tables, and the name of its report: a profile's lies in the report's."""
    return [
        (name, origin.parent)
        for name in NAMES
        for origin in sorted((reports / name).rglob("provenance.json"))
    ]
