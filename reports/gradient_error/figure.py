"""How the gradient error of a run's ages is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from reports import provenance
from reports.files import read_csv
from reports.style import GREY, save, write_below


class Panel(NamedTuple):
    """A measure of one part of the error (see `maac_bench.gradient_parts` and `.gradient_quality`).

    through: how the true dynamics were differentiated.
    """

    through: str
    part: str
    measure: str
    title: str


PANELS = (
    Panel("score_function", "model", "cosine", "learned against true model"),
    Panel("score_function", "critic", "cosine", "critic against continued rollout"),
    Panel(
        "score_function",
        "total",
        "cosine",
        "actor's gradient against reference*",
    ),
    Panel("pathwise", "model", "sample_cosine", "learned against true model: cosine"),
    Panel("pathwise", "model", "sample_norm_ratio", "learned against true model: length ratio"),
    Panel("score_function", "total", "l1_error", "actor's gradient against reference, 1 at H = 0"),
)
_ROWS = (
    "cosine of mean gradients,\ntrue ones from returns",
    "true ones through the simulator:\nmedian over samples",
)
_MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆"}
_COLUMNS = ["rollout", "seed", "horizon", "part", "through", "reference_steps", "samples"]
_COLUMNS += ["replicates", "cosine_error", "cosine_halves"]


def draw(folder: Path) -> None:
    """Draw gradient_error.png and .pdf from the tables in `folder`, into `folder`.

    Raises:
        ValueError: the data are missing.
    """
    origin = provenance.load(folder)
    data = read_csv(folder / "data.csv", [*_COLUMNS, *{panel.measure for panel in PANELS}])
    ages = sorted(data["rollout"].unique())
    figure, grid = plt.subplots(2, 3, figsize=(11, 7), layout="constrained")
    for axes, panel in zip(grid.flat, PANELS, strict=True):
        rows = data[(data["part"] == panel.part) & (data["through"] == panel.through)]
        _draw(axes, rows, panel, ages)
    for axes, label in zip(grid[:, 0], _ROWS, strict=True):
        axes.set_ylabel(label)
    grid[1, 2].set_ylabel("L1 error of mean gradients,\ntrue ones from returns")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    write_below(figure, provenance.caption(origin, _note(data, origin)))
    save(figure, folder / "gradient_error")


def _draw(axes: Axes, rows: pd.DataFrame, panel: Panel, ages: Sequence[int]) -> None:
    """A line per age, the mean over seeds; a marker per seed. A ratio of zero has no place here."""
    shades = mpl.colormaps["viridis"]
    for place, age in enumerate(ages):
        color = shades(0.9 * place / max(1, len(ages) - 1))
        now = rows[rows["rollout"] == age]
        if panel.measure == "sample_norm_ratio":
            now = now[now[panel.measure] > 0]
        elif panel.measure == "l1_error":
            first = now[now["horizon"] == 0].set_index("seed")["l1_error"]
            now = now.assign(l1_error=now["l1_error"] / now["seed"].map(first))
        mean = now.groupby("horizon")[panel.measure].mean()
        axes.plot(mean.index, mean, "-", color=color, lw=1.5, label=f"{age} episodes")
        for marker, (_, seed) in zip(cycle(_MARKERS), now.groupby("seed"), strict=False):
            error = seed["cosine_error"] if panel.measure == "cosine" else None
            axes.errorbar(
                seed["horizon"],
                seed[panel.measure],
                error,
                fmt=marker,
                color=color,
                ms=3,
                alpha=0.5,
                elinewidth=0.6,
            )
        if panel.part == "total" and panel.measure == "cosine":
            # What sampling leaves of the reference: half of its start states against the others.
            axes.axhline(now["cosine_halves"].mean(), color=color, ls=":", lw=1)
    if panel.measure == "sample_norm_ratio":
        axes.set_yscale("log")
    elif panel.measure != "l1_error":
        axes.set_ylim(-0.85, 1.05)
        axes.axhline(0.0, color=GREY, lw=0.5)
    axes.set_title(panel.title, fontsize=9)
    axes.set_xlabel("H")


def _note(data: pd.DataFrame, origin: dict[str, Any]) -> str:
    settings, first = origin["configuration"], data.iloc[0]
    symbols = zip(sorted(data["seed"].unique()), cycle(_MARKERS.values()), strict=False)
    seeds = ", ".join(f"{symbol} seed {seed}" for seed, symbol in symbols)
    sizes = data.groupby("through", sort=False)[["samples", "replicates"]].first()
    sampled = " · ".join(
        f"{through}: {row.samples} start states x {row.replicates}"
        for through, row in sizes.iterrows()
    )
    return (
        f"{settings['task']} · profile {settings['profile']} ({settings['label']}) · {sampled}\n"
        f"lines: mean of the seeds · {seeds} · bars: standard error over start states\n"
        f"reference: {first['reference_steps']} true steps, then the learned critic · "
        "* dotted: half of its start states against the other half · "
        f"{provenance.policies(origin)}"
    )
