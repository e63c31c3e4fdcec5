"""What a step along a trained agent's gradients is worth, at its policies and off them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from maac_bench.run_checkpoints import checkpoint_digest
from maac_bench.run_landscape import Probe, landscape
from reports.displacement.robot import MEASUREMENT, TRAINED
from reports.training_profiles import Profile
from reports.training_runs import held_ages
from reports.units import Experiment

# The gradients whose cosines reports/displacement has: the same start states and noise.
PROBE = Probe(
    horizons=MEASUREMENT.horizons,
    samples=MEASUREMENT.samples,
    replicates=MEASUREMENT.rollouts,
    reference_steps=MEASUREMENT.reference_steps,
)


@dataclass(frozen=True)
class Tour:
    """Which run is followed, when, and where to begin.

    training: its first run is measured. ages: after how many episodes. places: displacements of
    its policies, and random seeds of the displacements.
    """

    training: Profile
    ages: tuple[int, ...]
    places: tuple[tuple[float, int], ...] = ((0.0, 0), (0.03, 0), (0.03, 1), (0.03, 2), (0.1, 0))


PROFILES = {name: Tour(robot.training, robot.ages) for name, robot in TRAINED.items()}


def measured(path: Path, probe: Probe, age: int) -> pd.DataFrame:
    """`landscape`, with the random seed of the displacement."""
    return landscape(path, probe, age).assign(random_seed=probe.seed)


def tour(planned: Tour, path: Path) -> Experiment:
    """One unit per age and place, named after the checkpoint that is measured."""
    units = {
        f"age-{age:03d}-{checkpoint_digest(path, age)[:16]}-{share:g}-{seed}": partial(
            measured, path, replace(PROBE, displacement=share, seed=seed), age
        )
        for age in held_ages(path, planned.ages)
        for share, seed in planned.places
    }
    settings = {"run": planned.training.runs()[0].name, "probe": asdict(PROBE)}
    return Experiment("landscape", units, settings)
