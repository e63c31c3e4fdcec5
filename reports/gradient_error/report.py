"""Gradient error on a robot from end to end: at several ages of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from maac_bench.names import lookup
from maac_bench.run_checkpoints import checkpoint_digest
from maac_bench.run_gradient_error import Measurement, gradient_error
from reports import provenance
from reports.files import as_published, file_digest, read_csv
from reports.training_profiles import (
    Profile,
    ant,
    directory,
    paper_size,
    paper_size_gpu,
    paper_size_tf32,
    profiles,
)
from reports.training_runs import TrainingRun, commits, held_ages, require_run, run_all
from reports.units import Experiment, run

MEASUREMENTS = (
    Measurement(through="score_function", samples=128, replicates=500),
    Measurement(through="pathwise", samples=64),
)
_UNUSED = ("displacement", "shuffled_model")
_TRAINED = profiles(("maac",))


class Size(NamedTuple):
    """Which run is measured, and when.

    training: its first run is measured. ages: after how many episodes.
    """

    training: Profile
    ages: tuple[int, ...]

    @property
    def run(self) -> TrainingRun:
        """The run, as the learning curves have it."""
        return self.training.runs()[0]


def _early(task: str, algorithm: str) -> Size:
    """The first episodes of a run with reduced sizes."""
    label = f"{algorithm}; reduced: small nets, one task, 25 of 200 episodes, 2 of 4 seeds"
    training = replace(
        _TRAINED["mujoco"],
        tasks={f"maac_bench/{task}-v0": 25},
        algorithms=(algorithm,),
        label=label,
    )
    return Size(training, (10, 20))


def _last(training: Profile, episodes: int) -> Size:
    """A run that ends after so many episodes, since its last checkpoint is what is measured."""
    (algorithm,) = training.algorithms
    shortened = replace(
        training,
        tasks={"maac_bench/HalfCheetah-v0": episodes},
        label=f"{algorithm}; reduced: the paper's nets and updates, one task, {episodes} of 200 "
        f"episodes, {len(training.seeds)} of 4 seeds",
    )
    return Size(shortened, (episodes,))


PROFILES = {
    "mujoco": Size(_TRAINED["mujoco"], (10, 20, 30, 40, 50)),
    # Whether the gradient gains where the critics are trained along the actor's own rollout.
    "plus": _early("HalfCheetah", "maac-plus"),
    # Whether it gains from another unit of the critics' outputs.
    "critic-unit": Size(
        replace(
            _TRAINED["mujoco"],
            algorithms=("maac-scaled-critic",),
            label="maac-scaled-critic; " + _TRAINED["mujoco"].label,
        ),
        (10, 20),
    ),
    # Where the model in the actor's objective did not pay in as many episodes.
    "hopper": _early("Hopper", "maac"),
    "walker2d": _early("Walker2d", "maac"),
    # And where nothing is learned.
    "ant": Size(
        replace(ant(("maac",)), label="maac; " + ant(("maac",)).label), (50, 100, 150, 200)
    ),
    # Whether the paper's nets and number of updates make another gradient of it.
    "paper-size": Size(paper_size(("maac",)), (10, 20, 30, 40, 50)),
    # And with the critics with which most is learned.
    "paper-size-critic-unit": Size(paper_size(("maac-scaled-critic",)), (10, 20, 30, 40, 50)),
    # Whether an agent whose actor never saw the model has another gradient to follow.
    "paper-size-gpu-h0": _last(paper_size_gpu(("maac-h0",)), 47),
    # And two agents whose actors did, on their way and at the end.
    "paper-size-tf32-31": _last(paper_size_tf32((3, 4), "paper-gpu-seeds-3-4"), 31),
    "paper-size-tf32": _last(paper_size_tf32((3, 4), "paper-gpu-seeds-3-4"), 45),
    "paper": Size(_TRAINED["paper"], (10, 20, 50, 100, 200)),
}


def make_data(profile: str, folder: Path, runs: Path) -> bool:
    """Train what is missing, then `collect`."""
    size = lookup("profile", profile, PROFILES)
    run_all([size.run], directory(size.training, runs))
    return collect(profile, folder, runs)


def collect(profile: str, folder: Path, runs: Path) -> bool:
    """Measure at the ages whose checkpoints are there; True if the tables changed.

    What is published of the same run at other ages stays.

    Args:
        profile: which size.
        folder: the report's.
        runs: where experiments are kept.

    Raises:
        ValueError: an unknown profile, no checkpoint of any of the ages, or those of another run.
    """
    size = lookup("profile", profile, PROFILES)
    trained, home = size.run, directory(size.training, runs)
    path = home / trained.name
    held = held_ages(path, size.ages)
    require_run(trained, home)
    dials = {"task": trained.task, "measurements": [_dials(one) for one in MEASUREMENTS]}
    configuration: dict[str, Any] = {
        "profile": profile,
        "label": size.training.label,
        "seeds": list(trained.seeds),
        **dials,
    }
    origin = provenance.record(f"maac-bench figure gradient_error --profile {profile}", {})
    origin["runs"] = commits([trained], home)
    gone = [age for age in size.ages if age not in held]
    kept = _published(folder, gone, json.loads(json.dumps(configuration)), origin["runs"])
    before = provenance.load(folder) if len(kept) else {}
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
    data = data.drop(columns=[*_UNUSED, "target_norm", "step_back"])
    data.insert(0, "profile", profile)
    data = pd.concat([as_published(data), kept], ignore_index=True)
    # By measurement and age, as if all had been measured at once.
    order = [one.through for one in MEASUREMENTS]
    data = data.sort_values(
        ["through", "rollout"],
        key=lambda column: column.map(order.index) if column.name == "through" else column,
        kind="stable",
        ignore_index=True,
    )
    known = set(data["rollout"])
    configuration["ages"] = [age for age in size.ages if age in known]
    missing = [f"age {age}: no checkpoint" for age in size.ages if age not in known]
    for line in missing:
        print(f"unfinished: {line}")
    here = dict.fromkeys(map(str, held), origin["commit"])
    kept_ages = {
        str(age): before.get("measured", {}).get(str(age), before["commit"])
        for age in gone
        if len(kept) and age in set(kept["rollout"])
    }
    origin |= {"configuration": configuration, "unfinished": missing, "measured": here | kept_ages}
    return provenance.publish({"data.csv": data}, folder, origin)


def _dials(measurement: Measurement) -> dict[str, Any]:
    """All but those of reports/displacement: here a run is measured as it is.

    Tables and records published before there were such dials are those of now.
    """
    return {name: value for name, value in asdict(measurement).items() if name not in _UNUSED}


def _published(
    folder: Path, ages: Sequence[int], configuration: Mapping[str, Any], runs: Mapping[str, str]
) -> pd.DataFrame:
    """What a report has of these ages, if it measured the same run in the same way."""
    if not ages or not (folder / "provenance.json").exists():
        return pd.DataFrame()
    origin, path = provenance.load(folder), folder / "data.csv"
    data = read_csv(path, ["rollout", "through"])
    data = data[data["rollout"].isin(ages)]
    if data.empty:
        return data
    if file_digest(path) != origin.get("tables", {}).get("data.csv"):
        raise ValueError(
            f"{path} is not the table that provenance.json describes: restore both, or delete "
            "provenance.json to publish without them"
        )
    beside = {"ages": None, "label": None}  # what is said of the run, not what it is
    same = {**origin["configuration"], **beside} == {**configuration, **beside}
    known, oldest = origin.get("runs", {}), max(data["rollout"])
    # A run that a later version has continued is the same one up to there.
    if same and all(
        name in known
        and provenance.trained_by(text, oldest) == provenance.trained_by(known[name], oldest)
        for name, text in runs.items()
    ):
        return data
    gone = ", ".join(map(str, sorted(data["rollout"].unique())))
    raise ValueError(
        f"{folder} has results of another run, or of other dials, at ages of which this one has no "
        f"checkpoint ({gone}): delete provenance.json there to publish without them"
    )
