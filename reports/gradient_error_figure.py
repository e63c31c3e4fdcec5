"""How a run's gradient error is drawn: its table in, a figure beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from reports.files import read_csv
from reports.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, save, write_below

_COLORS = {
    "model": BLUE,
    "critic": ORANGE,
    "truncation": GREEN,
    "critic_and_truncation": PURPLE,
    "total": RED,
}
_MEASURES = {
    "cosine": "cosine of the mean gradients",
    "sample_cosine": "cosine of single samples (median)",
    "norm_ratio": "ratio of the mean gradients' norms",
    "l2_relative": "relative L2 error",
}
_RATIOS = ("norm_ratio", "l2_relative")
_COLUMNS = ["task", "algo", "seed", "rollout", "through", "reference_steps", "horizon", "part"]
_COLUMNS += ["samples", "replicates"]


def draw(path: Path) -> None:
    """Draw the table at `path` as .png and .pdf beside it.

    Raises:
        ValueError: the table is missing or lacks a column.
    """
    data = read_csv(path, [*_COLUMNS, *_MEASURES, "cosine_error", "cosine_halves"])
    figure, grid = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for axes, (column, title) in zip(grid.flat, _MEASURES.items(), strict=True):
        for part, color in _COLORS.items():
            _draw_part(axes, data[data["part"] == part], column, part, color)
        axes.set_title(title)
        axes.set_xlabel("H")
        if data["horizon"].nunique() == 1:
            axes.set_xticks(data["horizon"].unique())
        else:
            axes.xaxis.get_major_locator().set_params(integer=True)
        if column in _RATIOS:
            axes.set_yscale("log")
        else:
            axes.set_ylim(-1.05, 1.05)
    signal = data[data["part"] == "total"]["cosine_halves"].mean()
    grid[0, 0].axhline(signal, color=GREY, ls="--", lw=1, label="halves of the reference")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6)
    first = data.iloc[0]
    note = f"{first['task']} · {first['algo']} · rollout {first['rollout']} · "
    note += f"{data['seed'].nunique()} seeds (dots), {first['samples']} start states each, "
    note += f"{first['replicates']} rollouts from each · "
    note += f"reference: {first['reference_steps']} true steps, {first['through']}"
    if first.get("displacement"):  # tables from before it could be chosen have none
        note += f" · policies displaced by {first['displacement']:g} of their parameters' length"
    if first.get("shuffled_model"):
        note += " · a control: the learned model's weights in random order"
    write_below(figure, note, 8)
    save(figure, path.with_suffix(""))


def _draw_part(axes: Axes, rows: pd.DataFrame, column: str, part: str, color: str) -> None:
    """The mean over seeds as a line; seeds as dots, with their standard error where there is one.

    What is exactly zero has no place on a logarithmic axis and is left out.
    """
    shown = (
        rows.assign(**{column: rows[column].replace(0.0, np.nan)}) if column in _RATIOS else rows
    )
    mean = shown.groupby("horizon")[column].mean()
    axes.plot(mean.index, mean, "-", color=color, lw=1.4, label=part)
    errors = rows["cosine_error"] if column == "cosine" else None
    axes.errorbar(
        shown["horizon"], shown[column], errors, fmt="o", ms=3, color=color, alpha=0.5, lw=0.8
    )
