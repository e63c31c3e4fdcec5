"""How Figure 2 is drawn: committed tables in, one figure out."""

from __future__ import annotations

from pathlib import Path

from reports.curves import curve_figure
from reports.style import BLUE, GREEN, GREY, RED, save

_COLORS = {"maac": BLUE, "mbpo": RED, "steve": GREEN, "sac": GREY}
COLORS = _COLORS | {f"{name}-scaled-critic": color for name, color in _COLORS.items()}


def draw(folder: Path) -> None:
    """Draw figure2.png and .pdf from the tables in `folder`, into `folder`.

    Raises:
        ValueError: the data are missing.
    """
    save(curve_figure(folder, COLORS), folder / "figure2")
