"""How the parity check is drawn."""

from __future__ import annotations

from pathlib import Path

from reports.curves import curve_figure
from reports.style import BLUE, ORANGE, save

COLORS = {"sac": BLUE, "stable-baselines3": ORANGE}


def draw(folder: Path) -> None:
    """Draw parity.png and .pdf from the tables in `folder`, into `folder`.

    Raises:
        ValueError: the data are missing.
    """
    save(curve_figure(folder, COLORS), folder / "parity")
