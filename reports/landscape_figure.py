"""How a run's landscape is drawn: its table in, a figure beside it."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from reports.files import read_csv
from reports.style import BLACK, GREY, ORANGE, save, write_below

COLUMNS = ["task", "algo", "seed", "rollout", "direction", "horizon", "displacement", "step"]
COLUMNS += ["episodes", "return_before", "return", "gain", "gain_error"]
_LINES = {"learned": "-", "shuffled": ":", "reference": "-", "step_back": "--", "random": "--"}
_SHADES = {"reference": BLACK, "step_back": ORANGE, "random": GREY}


def draw(path: Path) -> None:
    """Draw the table at `path` as .png and .pdf beside it: a panel per seed.

    Raises:
        ValueError: the table is missing or lacks a column.
    """
    data = read_csv(path, COLUMNS)
    seeds = sorted(data["seed"].unique())
    figure, grid = plt.subplots(
        1, len(seeds), figsize=(1.5 + 3.5 * len(seeds), 4), layout="constrained", squeeze=False
    )
    for axes, seed in zip(grid.flat, seeds, strict=True):
        _draw_seed(axes, data[data["seed"] == seed])
        axes.set_title(f"seed {seed}")
    grid[0, 0].set_ylabel("test return")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right upper")
    first = data.iloc[0]
    note = (
        f"{first['task']} · {first['algo']} · rollout {first['rollout']} · mean of "
        f"{first['episodes']} episodes with the mean action · bars: standard error of the "
        "difference to no step"
    )
    if first["displacement"]:
        note += f" · begun {first['displacement']:g} of the parameters' length off the run's policy"
    write_below(figure, note, 8)
    save(figure, path.with_suffix(""))


def titled(data: pd.DataFrame) -> pd.Series:
    """Every row's direction as it is called in a figure."""
    names = data["direction"].str.replace("_", " ")
    horizons = data["horizon"].map(lambda value: "" if pd.isna(value) else f", H = {value:g}")
    return names + horizons


def _draw_seed(axes: Axes, rows: pd.DataFrame) -> None:
    """Return against the signed step, a line per direction; the steps are evenly spaced."""
    before = rows.iloc[[0]].assign(step=0.0, gain_error=0.0)
    before["return"] = before["return_before"]
    horizons = sorted(rows.loc[rows["direction"] == "learned", "horizon"].unique())
    shades = mpl.colormaps["viridis"]
    steps = sorted([0.0, *rows["step"].unique()])
    colors = {h: shades(0.85 * k / max(1, len(horizons) - 1)) for k, h in enumerate(horizons)}
    for title, one in rows.groupby(titled(rows), sort=False):
        name, horizon = one["direction"].iloc[0], one["horizon"].iloc[0]
        line = pd.concat([one, before]).sort_values("step")
        axes.errorbar(
            line["step"].map(steps.index),
            line["return"],
            line["gain_error"],
            color=_SHADES.get(name) or colors[horizon],
            ls=_LINES[name],
            marker=".",
            lw=1.2,
            elinewidth=0.6,
            label=title,
        )
    axes.set_xticks(range(len(steps)), [f"{step:g}" for step in steps], rotation=45)
    axes.set_xlabel("step, share of the parameters' length")
