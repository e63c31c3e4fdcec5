"""Landscapes along gradients, from end to end."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

from maac_bench.names import lookup
from reports.landscape.experiment import PROBE, PROFILES, tour
from reports.measured import collect_measured
from reports.training_profiles import directory
from reports.training_runs import run_all


def make_data(profile: str, folder: Path, runs: Path) -> bool:
    """Train what is missing, then `collect`."""
    training = lookup("profile", profile, PROFILES).training
    run_all(training.runs()[:1], directory(training, runs))
    return collect(profile, folder, runs)


def collect(profile: str, folder: Path, runs: Path) -> bool:
    """Measure at the ages whose checkpoints are there; True if the tables changed.

    Args:
        profile: which run.
        folder: the report's.
        runs: where experiments are kept.

    Raises:
        ValueError: an unknown profile, no checkpoint of any of the ages, or those of another run.
    """
    planned = lookup("profile", profile, PROFILES)
    own = ("displacement", "seed")  # columns of the table
    dials = {name: value for name, value in asdict(PROBE).items() if name not in own}
    settings = {"places": planned.places, "probe": dials}
    experiment = partial(tour, planned)
    return collect_measured(
        profile, planned.training, planned.ages, experiment, settings, folder, runs
    )
