"""How learning curves are drawn: committed tables in, one figure out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import provenance
from reports.files import read_csv
from reports.statistics import interval_note, iqm_band
from reports.style import BLACK, write_below

_DATA = ["task", "algo", "seed", "episode", "env_steps", "return"]
_X = {"episode": "episodes", "env_steps": "environment steps"}
# Letters in the width of a figure of one task, and what a line and gaps take of them.
_LEGEND, _KEY = 130, 6
_SUMMARY = ["task", "algo", "measure", "n", "iqm", "low", "high"]


def curve_figure(folder: Path, colors: Mapping[str, str]) -> Figure:
    """One column per task: evaluation returns against episodes, below the final ones.

    Without the latter where they compare nothing: of several algorithms fewer than two have any.

    Args:
        folder: holds data.csv, summary.csv and provenance.json.
        colors: of each algorithm; others are drawn in black.

    Raises:
        ValueError: the data are missing.
    """
    origin = provenance.load(folder)
    data = read_csv(folder / "data.csv", _DATA)
    summary = read_csv(folder / "summary.csv", _SUMMARY)
    tasks = list(data["task"].unique())
    final = summary[summary["measure"] == "final"]
    ratios, height = ((3, 1), 5.6) if _compare(final) else ((1,), 4.4)
    figure, grid = plt.subplots(
        len(ratios),
        len(tasks),
        figsize=(max(8.0, 3.9 * len(tasks)), height),
        height_ratios=ratios,
        squeeze=False,
        layout="constrained",
    )
    for column, task in zip(grid.T, tasks, strict=True):
        _draw_curves(column[0], data[data["task"] == task], colors, "episode")
        column[0].set_title(task, fontsize=9)
        if len(column) > 1:
            _draw_scores(column[1], final[final["task"] == task], colors)
    grid[0, 0].set_ylabel("evaluation return (mean action)")
    _legend_above(figure, grid[0])
    write_below(figure, provenance.caption(origin, _note(data, origin)))
    return figure


def _compare(final: pd.DataFrame) -> bool:
    """Whether, on some task, at least two algorithms have a final return, or all that there are."""
    groups = final.groupby("task")["iqm"]
    return bool((groups.count() >= groups.size().clip(upper=2)).any())


def comparison_figure(data: pd.DataFrame, colors: Mapping[str, str], note: str) -> Figure:
    """One column per task: evaluation returns against environment steps, whatever the source.

    Args:
        data: columns task, algo, seed, env_steps, return.
        colors: of each algorithm; others are drawn in black.
        note: the line under the figure.
    """
    tasks = list(data["task"].unique())
    size = (max(8.0, 3.9 * len(tasks)), 4.4)
    figure, grid = plt.subplots(1, len(tasks), figsize=size, squeeze=False, layout="constrained")
    for axes, task in zip(grid[0], tasks, strict=True):
        _draw_curves(axes, data[data["task"] == task], colors, "env_steps")
        axes.set_title(task, fontsize=9)
    grid[0, 0].set_ylabel("evaluation return (mean action)")
    _legend_above(figure, grid[0])
    write_below(figure, note)
    return figure


def _legend_above(figure: Figure, row: Iterable[Axes]) -> None:
    handles = {
        label: handle
        for axes in row
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=_columns(list(handles))
    )


def _columns(labels: Sequence[str]) -> int:
    """Entries of a legend that fit side by side, as wide as the longest where not all do."""
    if sum(map(len, labels)) + _KEY * len(labels) <= _LEGEND:
        return len(labels)
    return max(1, _LEGEND // (max(map(len, labels)) + _KEY))


def _draw_curves(axes: Axes, data: pd.DataFrame, colors: Mapping[str, str], x: str) -> None:
    for algo, rows in data.groupby("algo", sort=False):
        color = colors.get(str(algo), BLACK)
        for _, curve in rows.groupby("seed"):
            axes.plot(curve[x], curve["return"], color=color, lw=0.5, alpha=0.35)
        if not _are_shared(rows, x):
            axes.plot([], [], color=color, lw=0.5, label=f"{algo}: single seeds")
            continue
        band = iqm_band(rows, x, "return")
        axes.plot(band[x], band["iqm"], color=color, lw=1.6, label=str(algo))
        axes.fill_between(band[x], band["low"], band["high"], color=color, alpha=0.18, lw=0)
    axes.set_xlabel(_X[x])
    _cut(axes, data, x)


def _are_shared(rows: pd.DataFrame, x: str) -> bool:
    """Whether seeds have values at the same places; if each has its own, there is no mean."""
    ends = rows.groupby("seed")[x].max().sort_values()
    if len(ends) < 2:
        return True
    # Beyond the last but one there is a single seed in any case.
    seeds = rows[rows[x] <= ends.iloc[-2]].groupby(x)["seed"].nunique()
    return bool(seeds.median() >= 2)


def _cut(axes: Axes, data: pd.DataFrame, x: str) -> None:
    """Keep a few runaway evaluations from hiding all others; say how many are below the axis."""
    # Of its own second half: a curve that has stopped early has had no time to rise further.
    later = data[data[x] > 0.5 * data.groupby("algo")[x].transform("max")]
    # Of the middle algorithm, so that one that fails does not set the scale for all.
    lows = later.groupby("algo")["return"].quantile(0.1)
    low, high = lows.quantile(0.5, interpolation="higher"), data["return"].max()
    floor = low - 1.5 * (high - low)
    # Ordinary curves rise from the bottom of their range: only what would shrink them is cut.
    below = int((data["return"] < floor).sum())
    # And what three quarters of the evaluations do is not what runs away; one value is no range.
    far = data["return"].min() < high - 4.0 * (high - floor)
    if far and floor < high and below < 0.75 * len(data):
        axes.set_ylim(floor, high + 0.05 * (high - floor))
        text = f"{below} of {len(data)} evaluations are below the axis"
        axes.annotate(text, (0.98, 0.02), xycoords="axes fraction", ha="right", fontsize=7)


def _draw_scores(axes: Axes, scores: pd.DataFrame, colors: Mapping[str, str]) -> None:
    for place, row in enumerate(scores.to_dict("records")):
        color = colors.get(row["algo"], BLACK)
        axes.plot([row["low"], row["high"]], [place, place], color=color, lw=2.5, alpha=0.4)
        axes.plot([row["iqm"]], [place], "o", color=color, ms=5)
    names = [f"{algo}, n = {n}" for algo, n in zip(scores["algo"], scores["n"], strict=True)]
    axes.set_yticks(range(len(scores)), names, fontsize=7)
    axes.set_ylim(max(len(scores), 1) - 0.5, -0.5)
    label = "final return (last five evaluations)"
    if not scores["iqm"].notna().any():
        axes.set_xticks([])
        axes.set_xlabel(f"{label}: no curve is complete")
        return
    left, right = _score_range(scores)
    # An interval that would leave the others less than half of the axis runs off it.
    if scores["low"].min() < 2.0 * left - right:
        axes.set_xlim(left, right + 0.05 * (right - left))
        for place, low in enumerate(scores["low"]):
            if low < left:
                axes.plot([left], [place], "<", color=BLACK, ms=5, clip_on=False)
                label = "final return (last five evaluations)\n\u25c4 lower than shown"
    axes.set_xlabel(label)


def _score_range(scores: pd.DataFrame) -> tuple[float, float]:
    """An axis for the means, without those far below the middle algorithm's."""
    means = scores["iqm"].dropna().sort_values()
    # Of two it is the lower one: neither hides the other.
    right, middle = scores["high"].max(), means.iloc[min(len(means) // 2, max(len(means) - 2, 0))]
    shown = scores["iqm"][scores["iqm"] >= right - 20.0 * (right - middle)]
    worst = shown.min()
    return worst - 0.5 * (right - worst), right


def _note(data: pd.DataFrame, origin: Mapping[str, Any]) -> str:
    settings = origin["configuration"]
    seeds, tasks = settings["seeds"], settings["tasks"]
    lengths = data.groupby(["task", "algo", "seed"], as_index=False)["episode"].max()
    whole = int((lengths["episode"] == lengths["task"].map(tasks)).sum())
    expected = len(tasks) * len(settings["algorithms"]) * len(seeds)
    note = (
        f"profile {settings['profile']} ({settings['label']}) · "
        f"seeds {', '.join(map(str, seeds))} (n = {len(seeds)})"
    )
    if whole < expected:
        note += f" · {whole} of {expected} curves are complete"
    absent = set(settings["algorithms"]) - set(data["algo"])
    if absent:
        note += f"\nnot started: {', '.join(sorted(absent))}"
    fewest = int(data.groupby(["task", "algo"])["seed"].nunique().min())
    return f"{note}\ninterquartile mean and {interval_note(fewest)}, thin lines: single seeds"
