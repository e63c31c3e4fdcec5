"""The reports' committed tables as the page shows them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from reports.files import read_csv
from reports.page.markup import table_html
from reports.provenance import load
from reports.statistics import interval_note

_THIN = "\u202f"
"""A narrow space at which no line breaks."""
_MEASURES = {
    "final": "final return",
    "area": "mean return",
    "episodes_to_90": "episodes to 90 % of the rise",
}
_HORIZONS = {
    "regime": "data",
    "gain": "gain",
    "h_return": "best H against the return",
    "h_objective": "best H against the H-step objective",
    "h_bound_printed": "H of the smallest printed bound",
    "h_bound_corrected": "of the smallest corrected bound",
    "l1_at_0": "L1 error at H = 0",
    "l1_at_best": "at the best H",
    "l1_at_longest": "at the longest",
}
_RISES = {
    "rise": "rise after it ± standard error",
    "rise_held_out": "rise after the best H of the other seeds",
}
_FITS = {
    "model_nll": "model: held-out negative log-likelihood",
    "model_mse": "model: held-out squared error",
    "critic_ratio": "critic: fitted / exact mean value",
    "critic_slope": "critic: relative error of the derivative",
}


def number(value: float) -> str:
    """Three significant digits, whole ones from 100 on; a dash where there is none."""
    if math.isnan(value):
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", _THIN).replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def interval(value: float, low: float, high: float) -> str:
    """A number and its interval, which is none where it is a point: of one seed, or of equals."""
    if math.isnan(value) or low == high:
        return number(value)
    return f"{number(value)} [{number(low)}, {number(high)}]"


def summary_html(folder: Path) -> str:
    """Scores of learning curves: a row per task and algorithm, a column per measure."""
    keys = ["task", "algo", "measure", "n", "iqm", "low", "high"]
    summary = read_csv(folder / "summary.csv", keys)
    measures = [str(name) for name in summary["measure"].unique()]
    # Without a score of the one that the others are compared with, there is nothing to show.
    compared = "improvement" in summary.columns and summary["improvement"].notna().any()
    header = ["task", "algorithm", "seeds", *map(measure_name, measures)]
    rows = []
    for (task, algo), scores in summary.groupby(["task", "algo"], sort=False):
        of = scores.set_index("measure").to_dict("index")
        seeds = scores["n"].astype(int)
        # A measure that not every curve has, such as the rise of one that falls, has fewer.
        fewest = int(seeds[scores["measure"].isin(measures)].min())
        row = [
            str(task),
            str(algo),
            str(seeds.max()) if fewest == seeds.max() else f"{fewest} to {seeds.max()}",
        ]
        row += [interval(*(of[name][key] for key in ("iqm", "low", "high"))) for name in measures]
        if compared:
            row.append(_improvement(of[measures[0]]))
        rows.append(row)
    band = interval_note(int(summary["n"].min()))
    note = f"Interquartile mean over the seeds that have the measure, with its {band}."
    if compared:
        against = load(folder)["configuration"]["algorithms"][0]
        header.append(f"P({against} better), {measure_name(measures[0])}")
    if compared and "p_value" in summary.columns and summary["p_value"].notna().any():
        note += " p: exact two-sided Mann-Whitney test; of two against two seeds at least 0.33."
    return _with_note(table_html(header, rows), note)


def measure_name(name: str) -> str:
    """A measure in words."""
    if name.startswith("return_at_"):
        return f"return after {name.removeprefix('return_at_')} episodes"
    return _MEASURES.get(name, name)


def _improvement(row: Mapping[Hashable, Any]) -> str:
    """Probability, interval and p-value, which two single scores have not."""
    found = interval(row["improvement"], row["improvement_low"], row["improvement_high"])
    p = row.get("p_value", math.nan)
    return found if math.isnan(p) else f"{found}, p = {number(p)}"


def timing_html(folder: Path) -> str:
    """Wall-clock times of training; nothing where the report has none."""
    path = folder / "timings.csv"
    if not path.exists():
        return ""
    columns = ["task", "algo", "seeds", "env_steps", "seconds", "seconds_per_1000_steps"]
    header = ["task", "algorithm", "seeds", "steps each", "seconds", "seconds per 1000 steps"]
    timings = read_csv(path, columns)
    rows = [
        [row["task"], row["algo"], *(number(row[name]) for name in columns[2:])]
        for row in timings.to_dict("records")
    ]
    note = "Wall-clock time, all seeds of a run together."
    return _with_note(table_html(header, rows), note)


def horizon_html(folder: Path) -> str:
    """Figure 3: best horizons and the errors there; then how good the fits are."""
    rises = [f"{name}{error}" for name in _RISES for error in ("", "_error")]
    best = read_csv(folder / "horizons.csv", [*_HORIZONS, *rises])
    rows = [
        [
            *(_cell(row[name]) for name in _HORIZONS),
            *(f"{number(row[name])} ± {number(row[f'{name}_error'])}" for name in _RISES),
        ]
        for row in best.to_dict("records")
    ]
    table = table_html([*_HORIZONS.values(), *_RISES.values()], rows)
    return _with_note(table, "The horizon with the smallest error.") + _fits_html(folder)


def _fits_html(folder: Path) -> str:
    fits = read_csv(folder / "fits.csv", ["regime", "gain", "seed", *_FITS])
    medians = fits.groupby(["regime", "gain"], sort=False)[list(_FITS)].median()
    rows = [
        [str(regime), str(gain), *(number(value) for value in row)]
        for (regime, gain), row in zip(medians.index, medians.to_numpy(), strict=True)
    ]
    table = table_html(["data", "gain", *_FITS.values()], rows)
    return _with_note(table, f"Quality of the fits: medians over {fits['seed'].nunique()} seeds.")


def planning_html(folder: Path) -> str:
    """Table 1: return of the trained policies, without and with planning."""
    rows = [
        [task, algorithm, "yes" if mpc else "no", str(n), with_spread(n, mean, spread)]
        for task, algorithm, mpc, n, mean, spread in planning_returns(folder)
    ]
    note = "Mean over each seed's test episodes, then mean ± standard deviation over seeds."
    header = ["task", "policy", "planning at test time", "seeds", "return"]
    return _with_note(table_html(header, rows), note)


def planning_returns(folder: Path) -> list[tuple[str, str, bool, int, float, float]]:
    """Task, algorithm, whether planned, number of seeds, mean and deviation over seeds."""
    data = read_csv(folder / "data.csv", ["task", "algo", "seed", "mpc", "episode", "return"])
    test = ["task", "algo", "mpc"]
    seeds = data.groupby([*test, "seed"], sort=False)["return"].mean()
    return [
        (str(task), str(algorithm), bool(mpc), len(of), float(of.mean()), float(of.std()))
        for (task, algorithm, mpc), of in seeds.groupby(test, sort=False)
    ]


def with_spread(n: int, mean: float, spread: float) -> str:
    """A mean over n seeds with its standard deviation, which one seed has not."""
    return f"{number(mean)} ± {number(spread)}" if n > 1 else number(mean)


def benchmark_html(path: Path) -> str:
    """Every column of a table of benchmarks, as measured."""
    results = read_csv(path, [])
    rows = [[_cell(value) for value in row.values()] for row in results.to_dict("records")]
    return table_html([str(name).replace("_", " ") for name in results.columns], rows)


def _cell(value: object) -> str:
    return number(value) if isinstance(value, (int, float)) else str(value)


def _with_note(table: str, note: str) -> str:
    return f'<p class="note">{note}</p>\n<div class="numbers">{table}</div>\n'
