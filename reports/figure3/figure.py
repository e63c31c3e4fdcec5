"""How Figure 3 is drawn: committed tables in, two figures out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import provenance
from reports.files import read_csv
from reports.statistics import interval_note, mean_band
from reports.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    draw_band,
    save,
    write_below,
)

# One case in which the learned model's error first falls and then rises, one in which it does not.
CASES = (("few", "poor"), ("few", "near-optimal"))
_KEYS = ["regime", "gain", "seed", "horizon"]
_COLUMNS = {
    "data": [
        "regime",
        "gain",
        "seed",
        "horizon",
        "dynamics",
        "critic",
        "reference",
        "l1_error",
        "cosine",
        "norm_ratio",
    ],
    "decomposition": ["regime", "gain", "seed", "horizon", "part", "l1_error"],
    "bounds": ["regime", "gain", "seed", "horizon", "printed", "corrected"],
    "horizons": ["regime", "gain", "h_return", "h_bound_corrected"],
}
_TITLES = {
    "few": "few data",
    "many": "many data",
    "few-layernorm": "LayerNorm",
}
_PARTS = {
    "truncation": BLACK,
    "model": BLUE,
    "critic": ORANGE,
    "interaction": GREEN,
    "sampling": GREY,
    "total": RED,
}


def draw(folder: Path) -> None:
    """Draw figure3 and regimes from the tables in `folder`, into `folder`.

    Raises:
        ValueError: the data are missing or not finite.
    """
    origin = provenance.load(folder)
    tables = {name: read_csv(folder / f"{name}.csv", columns) for name, columns in _COLUMNS.items()}
    save(_main_figure(tables, origin), folder / "figure3")
    save(_regimes_figure(tables, origin), folder / "regimes")


def _main_figure(tables: Mapping[str, pd.DataFrame], origin: Mapping[str, Any]) -> Figure:
    margins = {"left": 0.055, "right": 0.99, "top": 0.95, "bottom": 0.115, "hspace": 0.22}
    figure, grid = plt.subplots(len(CASES), 4, figsize=(15, 6.8), gridspec_kw=margins)
    for row, (regime, gain) in zip(grid, CASES, strict=True):
        selected = {
            name: table[(table["regime"] == regime) & (table["gain"] == gain)]
            for name, table in tables.items()
        }
        _draw_return(row[0], selected["data"])
        _draw_objective(row[1], selected["data"], selected["bounds"])
        _draw_decomposition(row[2], selected["decomposition"])
        _draw_direction(row[3], selected["data"])
        row[0].set_ylabel(f"{_TITLES[regime]}, {gain} gain\nL1 error of the gradient")
        for axes in row:
            _horizon_axis(axes)
    titles = (
        "1. against the gradient of the return",
        "2. against the exact H-step objective",
        "3. where the error comes from",
        "4. direction and size (learned pair)",
    )
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=10)
    # Both rows have the same lines: each legend is where it covers none.
    for axes, corner in ((grid[0, 0], "lower left"), (grid[0, 1], "upper left")):
        axes.legend(loc=corner, fontsize=7)
    grid[1, 2].legend(loc="lower left", fontsize=7, ncols=2)
    grid[0, 3].legend(loc="upper left", fontsize=7)
    write_below(figure, provenance.caption(origin, _note(tables["data"], origin)), 8)
    return figure


def _note(data: pd.DataFrame, origin: Mapping[str, Any]) -> str:
    settings = origin["configuration"]
    return (
        f"{settings['task']}, infinite horizon · profile {settings['profile']} · "
        f"seeds 0-{data['seed'].max()} (n = {data['seed'].nunique()}), "
        f"mean and {interval_note(data['seed'].nunique())}"
    )


def _curve(
    axes: Axes,
    data: pd.DataFrame,
    dynamics: str,
    reference: str,
    color: str,
    label: str,
    value: str = "l1_error",
) -> None:
    rows = data[
        (data["dynamics"] == dynamics)
        & (data["critic"] == "learned")
        & (data["reference"] == reference)
    ]
    draw_band(axes, mean_band(rows, "horizon", value), "horizon", color, label)


def _draw_return(axes: Axes, data: pd.DataFrame) -> None:
    _curve(axes, data, "true", "return", BLACK, "true dynamics, learned critic")
    _curve(axes, data, "learned", "return", BLUE, "learned dynamics, learned critic")
    axes.set_yscale("log")


def _draw_objective(axes: Axes, data: pd.DataFrame, limits: pd.DataFrame) -> None:
    _curve(axes, data, "true", "objective", BLACK, "true dynamics, learned critic")
    _curve(axes, data, "learned", "objective", BLUE, "learned dynamics, learned critic")
    highest = axes.get_ylim()[1]
    for form, color, style in (("corrected", RED, "--"), ("printed", PURPLE, ":")):
        band = mean_band(limits, "horizon", form)
        axes.plot(band["horizon"], band["mean"], style, color=color, label=f"Lemma 4.1, {form}")
    axes.set_yscale("log")
    axes.set_ylim(top=highest * 300)  # the bounds leave the panel: they grow exponentially


def _draw_decomposition(axes: Axes, parts: pd.DataFrame) -> None:
    for part, color in _PARTS.items():
        band = mean_band(parts[parts["part"] == part], "horizon", "l1_error")
        band = band[band["mean"] > 0]  # H = 0 has no model error; a log axis has no zero
        label = "sampling (batch of 256)" if part == "sampling" else part
        draw_band(axes, band, "horizon", color, label)
    axes.set_yscale("log")


def _draw_direction(axes: Axes, data: pd.DataFrame) -> None:
    _curve(axes, data, "learned", "return", BLUE, "cosine to the return's", "cosine")
    _curve(axes, data, "learned", "return", ORANGE, "norm / the return's", "norm_ratio")
    _curve(axes, data, "learned", "objective", SKY, "cosine to the objective's", "cosine")
    axes.axhline(1.0, color=GREY, lw=0.8)


def _regimes_figure(tables: Mapping[str, pd.DataFrame], origin: Mapping[str, Any]) -> Figure:
    data, best = tables["data"], tables["horizons"]
    regimes, gains = list(data["regime"].unique()), list(data["gain"].unique())
    margins = {"left": 0.06, "right": 0.98, "top": 0.955, "bottom": 0.085, "hspace": 0.25}
    figure, grid = plt.subplots(
        len(regimes), len(gains), figsize=(11, 8.5), gridspec_kw=margins, sharex=True
    )
    for row, regime in zip(grid, regimes, strict=True):
        for axes, gain in zip(row, gains, strict=True):
            selected = data[(data["regime"] == regime) & (data["gain"] == gain)]
            _draw_return(axes, selected)
            _horizon_axis(axes)
            choice = best[(best["regime"] == regime) & (best["gain"] == gain)].iloc[0]
            axes.axvline(choice["h_return"], color=BLUE, lw=0.8, ls="--", label="best H")
            axes.set_title(
                f"{_TITLES[regime]}, {gain} gain\n"
                f"best H {choice['h_return']}, that of the bound {choice['h_bound_corrected']}",
                fontsize=8,
            )
        row[0].set_ylabel("L1 error")
    for axes in grid[:-1].flat:
        axes.set_xlabel("")
    grid[0, 0].legend(*grid[0, 0].get_legend_handles_labels())
    write_below(figure, provenance.caption(origin, _note(data, origin)), 8)
    return figure


def _horizon_axis(axes: Axes) -> None:
    axes.set_xscale("symlog", base=2, linthresh=1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlim(left=0)
    axes.set_xlabel("horizon H")
    axes.minorticks_off()
