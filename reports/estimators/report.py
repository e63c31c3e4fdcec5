"""The estimator comparison from end to end: run what is missing, write the tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from maac_bench.run_files import write_text
from reports import provenance
from reports.estimators.cost import cost_table
from reports.estimators.experiment import experiment
from reports.units import RUNS, run


def make_data(profile: str, folder: Path, runs: Path = RUNS) -> bool:
    """Run the profile and publish its tables into `folder`; True if they changed.

    cost.csv holds wall-clock times, which do not repeat: it is written when the data change.
    """
    plan = experiment(profile)
    command = f"maac-bench figure estimators --profile {profile}"
    origin = provenance.record(command, plan.configuration)
    data = run(plan, runs)
    changed = provenance.publish({"data.csv": data}, folder, origin, {"cost.csv": cost_table})
    write_text(folder / "table.md", markdown(data, pd.read_csv(folder / "cost.csv")))
    return changed


def markdown(data: pd.DataFrame, cost: pd.DataFrame) -> str:
    """The comparison at the largest N, one table per task, relative to the exact gradient."""
    blocks = []
    for task, rows in data[data["samples"] == data["samples"].max()].groupby("task", sort=False):
        times = cost[cost["task"] == task].set_index("estimator")
        lines = [
            f"### {task}",
            "",
            "| estimator | H | bias (exact) | bias (measured) | std per sample | (exact) "
            "| cosine | error at N = 256 | ms per gradient, N = 256 |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        at_256 = data[(data["task"] == task) & (data["samples"] == 256)].set_index("estimator")
        for row in rows.itertuples():
            exact = "–" if pd.isna(row.spread_exact) else f"{row.spread_exact:.3g}"
            lines.append(
                f"| {row.estimator} | {row.horizon} | {row.bias_exact:.3g} "
                f"| {row.bias:.3g} ± {row.bias_error:.2g} | {row.spread:.3g} | {exact} "
                f"| {row.cosine:.3f} | {at_256.loc[row.estimator, 'rms_error']:.3g} "
                f"| {times.loc[row.estimator, 'ms']:.3g} |"
            )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"
