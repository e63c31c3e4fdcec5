"""Figure 3 from end to end: run what is missing, write the tables, draw."""

from __future__ import annotations

from pathlib import Path

from reports import provenance
from reports.figure3.experiment import experiment
from reports.figure3.tables import (
    bound_table,
    decomposition_table,
    error_table,
    fit_table,
    horizon_table,
)
from reports.units import RUNS, run


def make_data(profile: str, folder: Path, runs: Path = RUNS) -> bool:
    """Run the profile and publish its tables into `folder`; True if they changed."""
    plan = experiment(profile)
    command = f"maac-bench figure figure3 --profile {profile}"
    origin = provenance.record(command, plan.configuration)
    raw = run(plan, runs)
    errors, limits = error_table(raw), bound_table(raw)
    tables = {
        "data.csv": errors,
        "decomposition.csv": decomposition_table(raw),
        "bounds.csv": limits,
        "horizons.csv": horizon_table(errors, limits),
        "fits.csv": fit_table(raw),
    }
    return provenance.publish(tables, folder, origin)
