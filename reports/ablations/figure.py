"""How the ablations are drawn: committed tables in, one figure out."""

from __future__ import annotations

from pathlib import Path

from reports.curves import curve_figure
from reports.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, save

COLORS = {
    "maac": BLUE,
    "maac-h0": ORANGE,
    "maac-no-steve": GREEN,
    "maac-single-sample": PURPLE,
    "maac-plain-critic": RED,
    "maac-plain-model": SKY,
    "maac-plain": BLACK,
    "maac-first-entropy": GREEN,
    "maac-authors": GREY,
    "maac-plus": RED,
    "maac-plus-short-branches": ORANGE,
    "maac-plus-steve": GREEN,
    "maac-plus-unbounded": PURPLE,
    "maac-scaled-critic": RED,
    "maac-h0-scaled-critic": PURPLE,
    "maac-plus-scaled-critic": PURPLE,
    "maac-sqrt-critic": GREEN,
    "maac-h0-sqrt-critic": ORANGE,
    "maac-scaled-critic-more-updates": SKY,
    "maac-bfloat16": SKY,
    "maac-scaled-critic-tf32": BLUE,
    "maac-short-fits": ORANGE,
    "maac-all-members": GREEN,
    "mbpo": GREY,
    "mbpo-scaled-critic": BLACK,
}


def draw(folder: Path) -> None:
    """Draw ablations.png and .pdf from the tables in `folder`, into `folder`.

    Raises:
        ValueError: the data are missing.
    """
    save(curve_figure(folder, COLORS), folder / "ablations")
