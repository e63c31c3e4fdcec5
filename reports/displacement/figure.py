"""How cosines against the distance from a learner's own policy are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import provenance
from reports.files import read_csv
from reports.style import GREY, save, write_below

_EXACT = ["task", "horizon", "displacement", "draws", "cosine", "cosine_25", "cosine_75"]
_EXACT += ["step_back"]
_ROBOT = ["task", "seed", "rollout", "horizon", "part", "displacement", "cosine"]
_ROBOT += [
    "shuffled_model",
    "step_back",
    "cosine_error",
    "cosine_halves",
    "samples",
    "replicates",
    "reference_steps",
]
_PARTS = {
    "total": "learned model and critic",
    "critic_and_truncation": "true model and learned critic",
}
_MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆"}


def draw(folder: Path) -> None:
    """Draw displacement.png and .pdf from the table in `folder`, into `folder`.

    Raises:
        ValueError: the data are missing.
    """
    origin = provenance.load(folder)
    if origin["configuration"]["profile"] == "exact":
        figure = _exact(read_csv(folder / "data.csv", _EXACT), origin)
    else:
        data = read_csv(folder / "data.csv", _ROBOT)
        figure = _robot(data, origin)
    save(figure, folder / "displacement")


def _exact(data: pd.DataFrame, origin: dict[str, Any]) -> Figure:
    tasks = data["task"].unique()
    figure, grid = plt.subplots(
        1, len(tasks), figsize=(9, 4), layout="constrained", sharey=True, squeeze=False
    )
    for axes, task in zip(grid.flat, tasks, strict=True):
        rows = data[data["task"] == task]
        for horizon, color in _colors(rows):
            one = rows[rows["horizon"] == horizon]
            axes.plot(one["displacement"], one["cosine"], "o-", color=color, ms=3, label=horizon)
            axes.plot(one["displacement"], one["step_back"], ":", color=color, lw=1)
            axes.fill_between(
                one["displacement"], one["cosine_25"], one["cosine_75"], color=color, alpha=0.12
            )
        axes.set_xscale("log")
        _finish(axes, task)
    grid[0, 0].set_ylabel("cosine to the exact policy gradient")
    _legend(figure, grid[0, 0])
    dials = origin["configuration"]
    note = (
        f"profile {dials['profile']} · in closed form · models and critics off by "
        f"{dials['error']:.0%}, at least {data['draws'].min()} of {dials['draws']} draws x "
        f"{dials['directions']} directions: median and quartiles · dotted: the step back "
        "to the own optimum"
    )
    write_below(figure, provenance.caption(origin, note), 8)
    return figure


def _robot(data: pd.DataFrame, origin: dict[str, Any]) -> Figure:
    ages = sorted(data["rollout"].unique())
    figure, grid = plt.subplots(
        len(ages),
        len(_PARTS),
        figsize=(9, 0.8 + 3.2 * len(ages)),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    for line, age in zip(grid, ages, strict=True):
        for axes, (part, title) in zip(line, _PARTS.items(), strict=True):
            _draw_part(axes, data[(data["rollout"] == age) & (data["part"] == part)])
            _finish(axes, f"{title}, {age} episodes")
        line[0].set_ylabel("cosine to the reference")
    _legend(figure, grid[0, 0])
    settings, first = origin["configuration"], data.iloc[0]
    symbols = zip(sorted(data["seed"].unique()), cycle(_MARKERS.values()), strict=False)
    seeds = ", ".join(f"{symbol} seed {seed}" for seed, symbol in symbols)
    note = (
        f"{settings['task']} · profile {settings['profile']} ({settings['label']}) · "
        f"{first['samples']} start states x {first['replicates']}\n"
        f"lines: mean of the seeds · {seeds} · bars: standard error over start states · dotted: "
        "half of the reference's start states against the other half · dashed: the step back to "
        "the agent's own policy\n"
        "x: a control, the learned model shuffled · "
        f"reference: {first['reference_steps']} true steps, then the learned critic · "
        f"{provenance.policies(origin)}"
    )
    write_below(figure, provenance.caption(origin, note))
    return figure


def _draw_part(axes: Axes, rows: pd.DataFrame) -> None:
    control, rows = rows[rows["shuffled_model"] == 1], rows[rows["shuffled_model"] == 0]
    for horizon, color in _colors(rows):
        one = rows[rows["horizon"] == horizon]
        ignorant = control[(control["horizon"] == horizon) & (control["part"] == "total")]
        if horizon:  # at H = 0 no model is asked
            axes.plot(ignorant["displacement"], ignorant["cosine"], "x", color=color, ms=5)
        mean = one.groupby("displacement")["cosine"].mean()
        axes.plot(mean.index, mean, "-", color=color, lw=1.5, label=horizon)
        for marker, (_, seed) in zip(cycle(_MARKERS), one.groupby("seed"), strict=False):
            axes.errorbar(
                seed["displacement"],
                seed["cosine"],
                seed["cosine_error"],
                fmt=marker,
                color=color,
                ms=3,
                alpha=0.6,
                elinewidth=0.6,
            )
    back = rows.groupby("displacement")["step_back"].mean()
    axes.plot(back.index, back, "--", color=GREY, lw=1.2)
    signal = rows.groupby("displacement")["cosine_halves"].mean()
    axes.plot(signal.index, signal, ":", color=GREY, lw=1.2)
    shares = sorted(rows["displacement"].unique())
    # Zero has a place, and every displacement its tick.
    axes.set_xscale("symlog", linthresh=min((share for share in shares if share), default=1.0))
    axes.set_xticks(shares, [f"{share:g}" for share in shares], minor=False)


def _colors(rows: pd.DataFrame) -> Sequence[tuple[int, Any]]:
    horizons = sorted(rows["horizon"].unique())
    shades = mpl.colormaps["viridis"]
    return [(h, shades(0.9 * k / max(1, len(horizons) - 1))) for k, h in enumerate(horizons)]


def _finish(axes: Axes, title: str) -> None:
    axes.axhline(0.0, color=GREY, lw=0.5)
    axes.set_ylim(-0.85, 1.05)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("displacement of the policy's parameters, share of their length")


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    names = [f"H = {label}" for label in labels]
    figure.legend(handles, names, loc="outside upper center", ncols=len(labels))
