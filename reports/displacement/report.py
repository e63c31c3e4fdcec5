"""Gradients off the policies that have optimised them, from end to end."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd

from maac_bench.names import lookup
from reports import provenance
from reports.displacement.exact import Exact, displaced_cosines
from reports.displacement.robot import EPISODES, MEASUREMENT, TRAINED, Robot, robot_experiment
from reports.measured import collect_measured
from reports.training_profiles import directory
from reports.training_runs import run_all
from reports.units import Experiment, run

PROFILES: dict[str, Exact | Robot] = {"exact": Exact(), **TRAINED}


def make_data(profile: str, folder: Path, runs: Path) -> bool:
    """Train what is missing, if anything, then measure; True if the tables changed."""
    size = lookup("profile", profile, PROFILES)
    if isinstance(size, Exact):
        return _publish_exact(profile, size, folder, runs)
    run_all([size.run], directory(size.training, runs))
    return collect(profile, folder, runs)


def collect(profile: str, folder: Path, runs: Path) -> bool:
    """Measure at the ages whose checkpoints are there; True if the tables changed.

    Args:
        profile: which size.
        folder: the report's.
        runs: where experiments are kept.

    Raises:
        ValueError: an unknown profile or one that trains nothing, no checkpoint of any of the
            ages, or those of another run.
    """
    size = lookup("profile", profile, PROFILES)
    if isinstance(size, Exact):
        raise ValueError(f"profile {profile} trains nothing: leave out --collect")
    own = ("displacement", "shuffled_model")  # columns of the table
    dials = {name: value for name, value in asdict(MEASUREMENT).items() if name not in own}
    settings = {
        "displacements": size.displacements,
        "control": size.control,
        "measurement": dials,
        "episodes": EPISODES,
    }
    experiment = partial(robot_experiment, size)
    return collect_measured(profile, size.training, size.ages, experiment, settings, folder, runs)


def _publish_exact(profile: str, dials: Exact, folder: Path, runs: Path) -> bool:
    configuration = {"profile": profile, **asdict(dials)}
    units = {
        f"{task.partition('/')[2]}-{draw}": partial(displaced_cosines, dials, task, draw)
        for task in dials.tasks
        for draw in range(dials.draws)
    }
    origin = provenance.record(f"maac-bench figure displacement --profile {profile}", configuration)
    table = summarised(run(Experiment("displacement", units, configuration), runs))
    return provenance.publish({"data.csv": table}, folder, origin)


def summarised(data: pd.DataFrame) -> pd.DataFrame:
    """Over draws and directions: quartiles of the cosine, and how many there were.

    Raises:
        ValueError: no learner has an optimum of its own.
    """
    if data.empty:
        raise ValueError("no draw has an optimum of its own: models and critics are too far off")
    groups = data.groupby(["task", "horizon", "displacement"], sort=False)
    cosine = groups["cosine"]
    return pd.DataFrame(
        {
            "draws": groups["draw"].nunique(),
            "count": groups.size(),
            "cosine": cosine.median(),
            "cosine_25": cosine.quantile(0.25),
            "cosine_75": cosine.quantile(0.75),
            "positive": cosine.agg(lambda values: (values > 0).mean()),
            "norm_ratio": groups["norm_ratio"].median(),
            "step_back": groups["step_back"].median(),
            "better": groups.apply(lambda rows: (rows["cosine"] > rows["step_back"]).mean()),
        }
    ).reset_index()
