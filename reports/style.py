"""How figures look and how they are saved: the same bytes from the same data."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.files import partial_of

# Okabe and Ito's palette: distinguishable with any colour vision.
BLUE, ORANGE, GREEN, PURPLE, RED, SKY, BLACK, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#D55E00",
    "#56B4E9",
    "#000000",
    "#8A8A8A",
)
# The width of a letter of small print, in parts of its size.
_LETTER = 0.55
PALETTE = (BLUE, SKY, GREEN, GREY, BLACK, PURPLE, ORANGE, RED)


def series_colors(names: Sequence[str], preferred: Mapping[str, str]) -> dict[str, str]:
    """A colour for every series of one picture, each its own as far as the palette goes.

    Args:
        names: of the series.
        preferred: what a name has if no earlier one has it.
    """
    chosen: dict[str, str] = {}
    for name in names:
        color = preferred.get(name)
        if color is not None and color not in chosen.values():
            chosen[name] = color
    spare = cycle([color for color in PALETTE if color not in chosen.values()] or PALETTE)
    return {name: chosen.get(name) or next(spare) for name in names}


def use_style() -> None:
    """Set the house style; no display is needed."""
    mpl.use("Agg")
    plt.rcdefaults()
    mpl.rcParams.update(
        {
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "legend.fontsize": 8,
            "figure.dpi": 150,
            "pdf.fonttype": 42,
        }
    )


def draw_band(axes: Axes, band: pd.DataFrame, by: str, color: str, label: str) -> None:
    """A mean with its interval, from `statistics.mean_band`."""
    axes.plot(band[by], band["mean"], color=color, label=label, marker="o", ms=2.5, lw=1.4)
    axes.fill_between(band[by], band["low"], band["high"], color=color, alpha=0.18, lw=0)


def write_below(figure: Figure, text: str, size: float = 7.0) -> None:
    """Lines of small print under a figure, broken where they would run over its edges.

    Args:
        figure: not yet laid out.
        text: line by line.
        size: of the letters, in points.
    """
    letters = int(figure.get_figwidth() * 72 / (_LETTER * size))
    lines = [textwrap.fill(line, letters) for line in text.splitlines()]
    figure.supxlabel("\n".join(lines), fontsize=size)


def save(figure: Figure, path: Path) -> None:
    """Write `path`.png and `path`.pdf without timestamps, and close the figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if figure.get_layout_engine() is not None:
        # Lay out once; each savefig would do it again, which is most of the drawing time.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    for kind, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
        image = path.with_suffix(f".{kind}")
        partial = partial_of(image)
        try:
            figure.savefig(partial, format=kind, metadata=metadata)
            partial.replace(image)
        finally:
            partial.unlink(missing_ok=True)
    plt.close(figure)
