"""How Table 1 is drawn: with and without planning, per task."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from reports import provenance
from reports.files import read_csv
from reports.style import BLUE, ORANGE, save, write_below

_NAMES = {0: ("policy's mean action", BLUE), 1: ("planning (CEM)", ORANGE)}


def draw(folder: Path) -> None:
    """`table1.png` and `.pdf` from the folder's data."""
    data = read_csv(folder / "data.csv", ["task", "seed", "mpc", "episode", "return"])
    origin = provenance.load(folder)
    tasks = list(data["task"].unique())
    figure, grid = plt.subplots(
        1,
        len(tasks),
        figsize=(max(8.0, 3.6 * len(tasks) + 1.0), 3.4),
        squeeze=False,
        layout="constrained",
    )
    for axes, task in zip(grid[0], tasks, strict=True):
        for mpc, (name, color) in _NAMES.items():
            rows = data[(data["task"] == task) & (data["mpc"] == mpc)]
            seeds = rows.groupby("seed")["return"].mean()
            _draw(axes, mpc, rows, seeds, color)
            axes.plot([], [], "o", color=color, label=name)
        axes.set_title(task, fontsize=9)
        axes.set_xticks([0, 1], ["without", "with"])
        axes.set_xlim(-0.6, 1.6)
    grid[0, 0].set_ylabel("test return")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    size = origin["configuration"]
    note = (
        f"profile {size['profile']} ({size['label']}) · seeds "
        f"{', '.join(map(str, size['seeds']))}, {size['episodes']} episodes each\n"
        f"dots: episodes, a column per seed; bar: mean over seeds · {provenance.policies(origin)}"
    )
    write_below(figure, provenance.caption(origin, note))
    save(figure, folder / "table1")


def _draw(axes: Axes, mpc: int, rows: pd.DataFrame, seeds: pd.Series, color: str) -> None:
    count = max(1, len(seeds) - 1)
    for place, (_, episodes) in enumerate(rows.groupby("seed")):
        x = mpc + 0.3 * (place / count - 0.5)
        axes.plot([x] * len(episodes), episodes["return"], "o", color=color, ms=3, alpha=0.5)
    axes.hlines(seeds.mean(), mpc - 0.3, mpc + 0.3, color=color, lw=2)
