"""What the page's interactive charts show: committed tables in, plain data for JSON out.

A group of charts shares its axes' names, its series and their colours. A series has a line, mostly
with a band, and under it the single seeds, all with the numbers of the table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from html import escape
from itertools import cycle
from pathlib import Path
from typing import Any

import pandas as pd

from reports.figure3.figure import CASES
from reports.files import read_csv
from reports.statistics import iqm_band, mean_band
from reports.style import BLACK, BLUE, PALETTE, series_colors

# Black lines would be lost on a dark page: they take the text's colour.
_INK = "currentColor"
_ZOOM = {"in": "+", "out": "−", "left": "◀", "right": "▶", "reset": "reset"}
_SPOKEN = {
    "in": "zoom in",
    "out": "zoom out",
    "left": "earlier part",
    "right": "later part",
    "reset": "whole range",
}

Group = dict[str, Any]


def curve_charts(folder: Path, colors: Mapping[str, str]) -> Group:
    """Learning curves, one chart per task: interquartile mean, its band, and single seeds.

    Args:
        folder: of the tables.
        colors: of the algorithms, as the report's figure has them.
    """
    data = read_csv(folder / "data.csv", ["task", "algo", "seed", "episode", "return"])
    algorithms = [str(name) for name in data["algo"].unique()]
    return {
        "x": "episodes",
        "y": "evaluation return",
        "xscale": "linear",
        "yscale": "linear",
        "colors": _on_any_page(series_colors(algorithms, colors)),
        "charts": [
            {
                "title": str(task),
                "series": [
                    _series(str(algo), curves, "episode", "return", "iqm")
                    for algo, curves in rows.groupby("algo", sort=False)
                ],
            }
            for task, rows in data.groupby("task", sort=False)
        ],
    }


def error_charts(folder: Path) -> Group:
    """Figure 3's first column: error against the gradient of the return, a chart per case."""
    columns = ["regime", "gain", "seed", "horizon", "dynamics", "critic", "reference", "l1_error"]
    data = read_csv(folder / "data.csv", columns)
    data = data[(data["critic"] == "learned") & (data["reference"] == "return")]
    return {
        "x": "horizon H",
        "y": "L1 error of the gradient",
        "xscale": "log1p",
        "yscale": "log",
        "colors": {"true dynamics": _INK, "learned dynamics": BLUE},
        "charts": [
            {
                "title": f"{regime} data, {gain} gain",
                "series": [
                    _series(f"{dynamics} dynamics", rows, "horizon", "l1_error", "mean")
                    for dynamics, rows in case.groupby("dynamics", sort=False)
                ],
            }
            for regime, gain in CASES
            for case in [data[(data["regime"] == regime) & (data["gain"] == gain)]]
            if len(case)
        ],
    }


def sample_charts(folder: Path) -> Group:
    """RMS error of each estimator against the number of samples, a chart per problem."""
    data = read_csv(folder / "data.csv", ["task", "estimator", "samples", "rms_error"])
    names = [str(name) for name in data["estimator"].unique()]
    colors = dict(zip(names, cycle(PALETTE), strict=False))
    return {
        "x": "samples N",
        "y": "RMS error / |gradient|",
        "xscale": "log",
        "yscale": "log",
        "colors": _on_any_page(colors),
        "charts": [
            {
                "title": str(task),
                "series": [
                    {
                        "name": str(name),
                        "line": {"x": _plain(line["samples"]), "y": _plain(line["rms_error"])},
                        "seeds": {},
                    }
                    for name, line in rows.groupby("estimator", sort=False)
                ],
            }
            for task, rows in data.groupby("task", sort=False)
        ],
    }


def _on_any_page(colors: Mapping[str, str]) -> dict[str, str]:
    return {name: _INK if color == BLACK else color for name, color in colors.items()}


def _series(name: str, rows: pd.DataFrame, x: str, y: str, middle: str) -> Group:
    band = iqm_band(rows, x, y) if middle == "iqm" else mean_band(rows, x, y)
    return {
        "name": name,
        "line": {
            "x": _plain(band[x]),
            "y": _plain(band[middle], rounded=True),
            "low": _plain(band["low"], rounded=True),
            "high": _plain(band["high"], rounded=True),
        },
        "seeds": {
            str(seed): {"x": _plain(curve[x]), "y": _plain(curve[y])}
            for seed, curve in rows.groupby("seed")
        },
    }


def _plain(column: Iterable[float], rounded: bool = False) -> list[float | None]:
    """Numbers for JSON, which has no NaN; what is computed here has the digits of our tables."""
    values = (float(f"{value:.6g}") if rounded else value for value in column)
    return [None if math.isnan(value) else _number(value) for value in values]


def _number(value: float) -> float:
    whole = float(value).is_integer() and abs(value) < 1e15
    return int(value) if whole else float(value)


def group_html(name: str, group: Group) -> str:
    """A group with its legend, data and empty charts, all of fixed size so that nothing moves.

    Args:
        name: unique on the page.
        group: from one of the functions above.
    """
    seeds = {seed for chart in group["charts"] for one in chart["series"] for seed in one["seeds"]}
    legend = "".join(_toggle(one, one, color) for one, color in group["colors"].items())
    if seeds:
        legend += "<span>seeds</span>" + "".join(
            _toggle(f"seed-{seed}", seed, "") for seed in sorted(seeds, key=int)
        )
    charts = "\n".join(
        _chart(f"{name}-{place}", chart["title"], group)
        for place, chart in enumerate(group["charts"])
    )
    # "</" would end the script early.
    data = json.dumps(group, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    return (
        f'<div class="group" id="{name}">\n'
        f'<div class="legend" role="group" aria-label="show or hide">{legend}</div>\n'
        f'<div class="charts">\n{charts}\n</div>\n'
        f'<script type="application/json">{data}</script>\n</div>\n'
    )


def _toggle(name: str, label: str, color: str) -> str:
    swatch = f'<i style="background:{color}"></i>' if color else ""
    spoken = f' aria-label="{escape(name)}"' if name != label else ""
    return (
        f'<button type="button" data-hide="{escape(name)}" aria-pressed="true"{spoken}>'
        f"{swatch}{escape(label)}</button>"
    )


def _chart(name: str, title: str, group: Mapping[str, Any]) -> str:
    buttons = "".join(
        f'<button type="button" data-zoom="{act}" aria-label="{_SPOKEN[act]}: {escape(title)}">'
        f"{sign}</button>"
        for act, sign in _ZOOM.items()
    )
    spoken = escape(f"{title}: {group['y']} against {group['x']}; the numbers are in the tables")
    return (
        f'<figure class="chart"><header><b>{escape(title)}</b><div class="zoom">{buttons}</div>'
        f'</header><svg id="{name}-plot" role="img" aria-label="{spoken}"></svg></figure>'
    )
