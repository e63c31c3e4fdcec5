"""Gradients of trained agents at policies a random step from their own, against MuJoCo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from maac_bench.episodes import Episodes
from maac_bench.evaluation import run_episode
from maac_bench.products import fast_products
from maac_bench.run_checkpoints import checkpoint_digest
from maac_bench.run_evaluation import open_run
from maac_bench.run_gradient_error import Measurement, gradient_error
from maac_bench.run_measurement import displaced_policy
from reports.training_profiles import Profile, other_tasks, repeated
from reports.training_runs import TrainingRun, held_ages
from reports.units import Experiment

MEASUREMENT = Measurement(horizons=(0, 2, 4, 8), samples=128, replicates=500)
"""Through returns alone: the simulator's derivative is noise over this many steps."""

EPISODES = 5
"""Test episodes of every measured policy."""


@dataclass(frozen=True)
class Robot:
    """Which run is measured, when, and how far from its policies.

    training: its first run is measured. ages: after how many episodes. displacements: as shares
    of the length of every parameter tensor. control: at which of them a model that knows nothing
    is measured, too.
    """

    training: Profile
    ages: tuple[int, ...]
    displacements: tuple[float, ...] = (0.0, 0.03, 0.1, 0.2)
    control: float = 0.03

    @property
    def run(self) -> TrainingRun:
        """The run, as the learning curves have it."""
        return self.training.runs()[0]


def _labelled(profile: Profile) -> Profile:
    return replace(profile, label=f"{profile.algorithms[0]}; {profile.label}")


TRAINED = {
    "mujoco": Robot(_labelled(repeated(("maac",))), (20, 50)),
    # Where H > 0 does not pay in as many episodes.
    "hopper": Robot(
        _labelled(replace(other_tasks(("maac",)), tasks={"maac_bench/Hopper-v0": 25})), (20,)
    ),
}


def measured(path: Path, measurement: Measurement, age: int) -> pd.DataFrame:
    """`gradient_error`, with the test return of the policies that are measured (mean action)."""
    table, run = gradient_error(path, measurement, age), open_run(path, age)
    policy = displaced_policy(
        run.agent.policy, run.seeds, measurement.displacement, measurement.seed
    )
    episodes = Episodes(run.task.make, run.seeds, "test")
    with fast_products():
        found = [run_episode(policy.mean_action, episodes).returns for _ in range(EPISODES)]
    episodes.close()
    means = dict(zip(run.seeds, torch.stack(found).mean(dim=0).tolist(), strict=True))
    return table.assign(**{"return": table["seed"].map(means)})


def robot_experiment(robot: Robot, path: Path) -> Experiment:
    """One unit per age and displacement, named after the checkpoint that is measured."""
    planned = {
        f"displaced-{share:g}": replace(MEASUREMENT, displacement=share)
        for share in robot.displacements
    }
    control = replace(MEASUREMENT, displacement=robot.control, shuffled_model=True)
    planned["control"] = control
    units = {
        f"age-{age:03d}-{checkpoint_digest(path, age)[:16]}-{name}": partial(
            measured, path, one, age
        )
        for age in held_ages(path, robot.ages)
        for name, one in planned.items()
    }
    return Experiment("displacement", units, {"task": robot.run.task})
