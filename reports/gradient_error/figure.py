"""How the gradient error of a run's ages is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from reports import provenance
from reports.files import read_csv
from reports.style import GREY, save


class Panel(NamedTuple):
    """A measure of one part of the error (see `maac_bench.gradient_quality`)."""

    part: str
    measure: str
    title: str


PANELS = (
    Panel("model", "sample_cosine", "learned against true model: cosine per sample"),
    Panel("model", "sample_norm_ratio", "learned against true model: length per sample"),
    Panel("critic", "sample_cosine", "critic against continued rollout: cosine per sample"),
    Panel("total", "cosine", "actor against reference: cosine of the means"),
)
_COLUMNS = ["rollout", "seed", "horizon", "part", "cosine_halves", "reference_steps", "samples"]


def draw(folder: Path) -> None:
    """Draw gradient_error.png and .pdf from the tables in `folder`, into `folder`.

    Raises:
        ValueError: the data are missing.
    """
    origin = provenance.load(folder)
    data = read_csv(folder / "data.csv", [*_COLUMNS, *{panel.measure for panel in PANELS}])
    ages = sorted(data["rollout"].unique())
    figure, grid = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for axes, panel in zip(grid.flat, PANELS, strict=True):
        _draw(axes, data[data["part"] == panel.part], panel, ages)
    halves = data[data["part"] == "total"]["cosine_halves"].mean()
    grid[1, 1].axhline(halves, color=GREY, ls="--", lw=1)
    grid[1, 1].annotate("halves of the reference", (0.02, halves), fontsize=7, va="bottom")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    figure.supxlabel(provenance.caption(origin, _note(data, origin["configuration"])), fontsize=7)
    save(figure, folder / "gradient_error")


def _draw(axes: Axes, rows: pd.DataFrame, panel: Panel, ages: Sequence[int]) -> None:
    """A line per age, the mean over seeds; dots are seeds. A ratio of zero has no place here."""
    shades = mpl.colormaps["viridis"]
    for place, age in enumerate(ages):
        color = shades(0.9 * place / max(1, len(ages) - 1))
        now = rows[rows["rollout"] == age]
        if panel.measure == "sample_norm_ratio":
            now = now[now[panel.measure] > 0]
        mean = now.groupby("horizon")[panel.measure].mean()
        axes.plot(mean.index, mean, "-", color=color, lw=1.5, label=f"{age} episodes")
        axes.plot(now["horizon"], now[panel.measure], "o", color=color, ms=3, alpha=0.5)
    if panel.measure == "sample_norm_ratio":
        axes.set_yscale("log")
    else:
        axes.set_ylim(-0.55, 1.05)
        axes.axhline(0.0, color=GREY, lw=0.5)
    axes.set_title(panel.title, fontsize=9)
    axes.set_xlabel("H")


def _note(data: pd.DataFrame, settings: dict[str, Any]) -> str:
    first = data.iloc[0]
    seeds = ", ".join(map(str, data["seed"].unique()))
    return (
        f"{settings['task']} · profile {settings['profile']} ({settings['label']})\n"
        f"seeds {seeds} · {first['samples']} samples each · medians, except the last panel · "
        f"reference: {first['reference_steps']} true steps"
    )
