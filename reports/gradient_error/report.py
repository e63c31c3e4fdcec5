"""Gradient error on HalfCheetah from end to end: at several ages of MAAC's run."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from maac_bench.names import lookup
from maac_bench.run import checkpoint_digest, checkpoint_rollouts
from maac_bench.run_gradient_error import Measurement, gradient_error
from reports import provenance
from reports.training_profiles import directory, profiles
from reports.training_runs import TrainingRun, commits, run_all
from reports.units import Experiment, run

TASK = "maac_bench/HalfCheetah-v0"
MEASUREMENTS = (
    Measurement(through="score_function", samples=128, replicates=500),
    Measurement(through="pathwise", samples=64),
)
TRAINED = profiles(("maac",))


class Size(NamedTuple):
    """Which runs are measured. training: their profile. ages: after how many episodes."""

    training: str
    ages: tuple[int, ...]


PROFILES = {
    "quick": Size("mujoco", (10, 20, 30, 40, 50)),
    "paper": Size("paper", (10, 20, 50, 100, 200)),
}


def make_data(profile: str, folder: Path, runs: Path) -> bool:
    """Train what is missing, then `collect`."""
    size = lookup("profile", profile, PROFILES)
    run_all([_trained(size)], directory(TRAINED[size.training], runs))
    return collect(profile, folder, runs)


def collect(profile: str, folder: Path, runs: Path) -> bool:
    """Measure at the ages whose checkpoints are there; True if the tables changed.

    Args:
        profile: which size.
        folder: the report's.
        runs: where experiments are kept.

    Raises:
        ValueError: an unknown profile, or no checkpoint of any of the ages.
    """
    size = lookup("profile", profile, PROFILES)
    trained, home = _trained(size), directory(TRAINED[size.training], runs)
    path = home / trained.name
    held = [age for age in size.ages if age in checkpoint_rollouts(path)]
    if not held:
        ages = ", ".join(map(str, size.ages))
        raise ValueError(
            f"{path} has no checkpoint of the ages {ages}: train it first, or, if it has been "
            "trained without keeping them, move it away"
        )
    missing = [f"age {age}: no checkpoint" for age in size.ages if age not in held]
    dials = {"task": TASK, "measurements": [asdict(one) for one in MEASUREMENTS]}
    configuration: dict[str, Any] = {
        "profile": profile,
        "label": TRAINED[size.training].label,
        "seeds": list(trained.seeds),
        "ages": held,
        **dials,
    }
    origin = provenance.record(
        f"maac-bench figure gradient_error --profile {profile}", configuration
    )
    # Named after what is measured: a run that has gone on, or another one in its place, is not
    # mistaken for it, and ages that have not changed are not measured again.
    units = {
        f"{one.through}-age-{age:03d}-{checkpoint_digest(path, age)[:16]}": partial(
            gradient_error, path, one, age
        )
        for one in MEASUREMENTS
        for age in held
    }
    data = run(Experiment("gradient_error", units, dials), runs)
    data.insert(0, "profile", profile)
    for line in missing:
        print(f"unfinished: {line}")
    return provenance.publish(
        {"data.csv": data},
        folder,
        {**origin, "runs": commits([trained], home), "unfinished": missing},
    )


def _trained(size: Size) -> TrainingRun:
    """MAAC's run on the task, as the learning curves have it."""
    return next(one for one in TRAINED[size.training].runs() if one.task == TASK)
