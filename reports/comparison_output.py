"""How a comparison of runs is printed and drawn, and published curves beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from reports.ablations.figure import COLORS as ABLATIONS
from reports.comparison import THRESHOLDS, Comparison
from reports.curve_tables import FINAL_EPISODES
from reports.curves import comparison_figure
from reports.figure2.figure import COLORS as FIGURE2
from reports.files import read_csv
from reports.statistics import interval_note, iqm_band
from reports.style import save, series_colors, use_style

_PUBLISHED = ["step", "reward", "seed"]


def describe(comparison: Comparison) -> str:
    """The tables as readable lines, remarks first."""
    lines = [*comparison.remarks]
    for task, rows in comparison.table.groupby("task", sort=False):
        at = rows["compared_at"].iloc[0]
        note = f" [{interval_note(int(rows['scored'].min()))}]" if rows["scored"].max() > 1 else ""
        lines += ["", f"{task}, first {at} episodes: interquartile mean{note}"]
        cells: list[tuple[str, ...]]
        final = f"final (last {min(FINAL_EPISODES, _trained(comparison.data, task, at))})"
        cells = [("algorithm", "seeds", "episodes", final, "area")]
        cells += [
            (
                row["algo"],
                _counted(row["scored"], row["seeds"]),
                f"{row['shortest']}-{row['longest']}",
                *(
                    _interval(row[name], row[f"{name}_low"], row[f"{name}_high"])
                    if row["scored"] > 1  # of one seed an interval would be a point
                    else _interval(row[name])
                    for name in ("final", "area")
                ),
            )
            for row in rows.to_dict("records")
        ]
        lines += _aligned(cells)
    if len(comparison.improvement):
        lines += ["", "probability that a final return is better, exact two-sided Mann-Whitney p"]
        lines += _aligned(
            [
                (
                    f"{row['algo']} > {row['than']}",
                    _interval(row["value"], row["low"], row["high"], ".2f"),
                    f"{row['tasks']} task{'s' if row['tasks'] > 1 else ''}",
                    "" if np.isnan(row["p_value"]) else f"p = {row['p_value']:.2g}",
                )
                for row in comparison.improvement.to_dict("records")
            ]
        )
    # Alone an algorithm makes its own range.
    if len(comparison.profile) > len(THRESHOLDS):
        lines += [
            "",
            "share of seeds whose final return is above a part of the range between the least and "
            "the largest of its task here",
        ]
        cells = [("algorithm", *(f"> {tau:g}" for tau in THRESHOLDS))]
        cells += [
            (
                str(algo),
                *(
                    _interval(row["share"], row["low"], row["high"], ".2f")
                    for row in rows.to_dict("records")
                ),
            )
            for algo, rows in comparison.profile.groupby("algo", sort=False)
        ]
        lines += _aligned(cells)
    return "\n".join(lines).lstrip("\n")


def _trained(data: pd.DataFrame, task: object, at: int) -> int:
    """Evaluations of a task that scores are made of: up to there, those since training began."""
    rows = data[(data["task"] == task) & (data["episode"] <= at)]
    begun = rows[rows["temperature"].notna()] if rows["temperature"].notna().any() else rows
    return int(begun.groupby(["algo", "seed"]).size().max())


def _counted(scored: int, seeds: int) -> str:
    return str(seeds) if scored == seeds else f"{scored} of {seeds}"


def _interval(value: float, low: float = np.nan, high: float = np.nan, digits: str = ".4g") -> str:
    if np.isnan(value):
        return "-"
    return f"{value:{digits}}" + ("" if np.isnan(low) else f" [{low:{digits}}, {high:{digits}}]")


def _aligned(cells: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  "
        + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def read_published(paths: Sequence[Path], comparison: Comparison) -> pd.DataFrame:
    """Published curves as data of algorithms named after their files.

    Args:
        paths: CSVs with columns step, reward, seed. They do not say which task they are of:
            that of the comparison.
        comparison: of one task.

    Raises:
        ValueError: a file is no such table, the comparison is of several tasks, or a file has the
            name of one of its algorithms.
    """
    tasks = [str(task) for task in comparison.table["task"].unique()]
    if len(tasks) > 1:
        raise ValueError(
            f"published curves are of one task, these runs of {len(tasks)}: {', '.join(tasks)}"
        )
    names = [*comparison.table["algo"], *(path.stem for path in paths)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two curves are called {name!r}: rename a file of published curves")
    parts = []
    for path in paths:
        table = read_csv(path, _PUBLISHED)
        try:
            numbers = table[["step", "reward", "seed"]].astype(float)
        except ValueError as error:
            raise ValueError(f"{path} has an entry that is no number: {error}") from error
        if numbers.empty:
            raise ValueError(f"{path} has no curve")
        if not np.isfinite(numbers.to_numpy()).all():
            raise ValueError(f"{path} has an entry that is not finite")
        if numbers.duplicated(["step", "seed"]).any():
            raise ValueError(f"{path} has two rewards of one seed at one step")
        renamed = numbers.rename(columns={"step": "env_steps", "reward": "return"})
        parts.append(renamed.assign(task=tasks[0], algo=path.stem))
    return pd.concat(parts, ignore_index=True)


def beside_published(comparison: Comparison, published: pd.DataFrame) -> list[str]:
    """What published curves have after as many environment steps as are compared, a line each."""
    at = comparison.table["compared_at"].iloc[0]
    steps = int(comparison.data[comparison.data["episode"] == at]["env_steps"].max())
    lines = []
    for algo, rows in published.groupby("algo", sort=False):
        earlier = rows[rows["env_steps"] <= steps]
        if earlier.empty:
            lines.append(f"published {algo}: begins after {steps} environment steps")
            continue
        # Seeds may have been evaluated at steps of their own: each one's last.
        last = earlier.loc[earlier.groupby("seed")["env_steps"].idxmax()]
        row = iqm_band(last, "algo", "return").iloc[0]
        there, seeds = int(row["n"]), rows["seed"].nunique()
        low, high = (row["low"], row["high"]) if there > 1 else (np.nan, np.nan)
        first, step = last["env_steps"].min(), last["env_steps"].max()
        at_steps = f"step {step:.0f}" if first == step else f"steps {first:.0f} to {step:.0f}"
        lines.append(
            f"published {algo}: {_interval(row['iqm'], low, high)} at {at_steps}, "
            f"{_counted(there, seeds)} seed{'s' if seeds > 1 else ''}, a single evaluation each "
            f"(ours: {steps} steps at episode {at})"
        )
    return lines


def draw(comparison: Comparison, published: pd.DataFrame | None, path: Path) -> None:
    """Draw the learning curves, whole, as PNG and PDF.

    Args:
        comparison: from `compare`.
        published: from `read_published`, or None.
        path: ends in .png.
    """
    data = comparison.data if published is None else pd.concat([comparison.data, published])
    colors = series_colors([str(algo) for algo in data["algo"].unique()], ABLATIONS | FIGURE2)
    ends = ", ".join(
        f"{task} at episode {at}"
        for task, at in comparison.table.groupby("task", sort=False)["compared_at"].first().items()
    )
    band = interval_note(int(comparison.table["seeds"].min()))
    note = f"interquartile mean and {band}, thin lines: single seeds\n"
    use_style()
    with plt.rc_context({"text.parse_math": False}):  # folders and files may be called anything
        save(comparison_figure(data, colors, f"{note}compared: {ends}"), path)
