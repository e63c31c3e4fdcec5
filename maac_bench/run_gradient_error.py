"""How wrong a run's actor gradient is, measured with the true dynamics of its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from maac_bench.agent import Agent, World
from maac_bench.config import from_dict
from maac_bench.data import StreamFactory
from maac_bench.gradient_quality import (
    OUTLIER,
    PARTS,
    Gradients,
    Setting,
    horizon_gradients,
    measure,
)
from maac_bench.rollout import draw_rollout_noise
from maac_bench.run import read_identity, require_checkpoint
from maac_bench.run_evaluation import restore_parts
from maac_bench.streams import Streams
from maac_bench.tasks import make_training_task
from maac_bench.tasks.mujoco_dynamics import mujoco_dynamics
from maac_bench.types import Dynamics, Problem

SUMMARY = {
    "cosine": "cosine of the mean gradients",
    "cosine_halves": "cosine between the halves of the target (near 0: noise)",
    "sample_cosine": "cosine of single samples, median",
    "norm_ratio": "ratio of the mean gradients' lengths",
    "exploding_target": f"share of the target's samples above {OUTLIER:g} medians",
}
"""What is printed: column and its title."""


@dataclass(frozen=True)
class Measurement:
    """The dials of the measurement."""

    horizons: tuple[int, ...] = (0, 1, 2, 4, 6, 8, 10)
    """H, model transitions before the critic"""
    samples: int = 64
    """start states per seed, drawn from the run's real transitions"""
    reference_steps: int = 20
    """L, true transitions of the reference gradient"""
    seed: int = 0
    """of start states and noise"""

    def __post_init__(self) -> None:
        """Refuse what gives no numbers."""
        if self.samples < 4:
            raise ValueError(f"samples must be at least 4, got {self.samples}")
        if self.reference_steps < 1:
            raise ValueError(f"reference_steps must be at least 1, got {self.reference_steps}")
        if not self.horizons or min(self.horizons) < 0:
            raise ValueError(f"horizons must be at least 0, got {self.horizons}")
        if max(self.horizons) > self.reference_steps:
            raise ValueError(
                f"reference_steps must be at least the longest horizon, {max(self.horizons)}, "
                f"got {self.reference_steps}"
            )


def gradient_error(
    path: Path, measurement: Measurement, rollout: int | None = None
) -> pd.DataFrame:
    """The parts of the actor gradient's error, for every seed of a run and every H.

    Args:
        path: run directory; only read.
        measurement: the dials.
        rollout: which checkpoint; default: the newest.

    Returns:
        Columns task, algo, seed, rollout (how long the run was trained), reference_steps, horizon,
        part (see `gradient_quality`), samples, and the fields of `gradient_quality.Quality`.

    Raises:
        ValueError: no run, no checkpoint yet, a damaged one, a run without a model, or a task
            whose true dynamics cannot be differentiated.
    """
    identity, snapshot = read_identity(path), require_checkpoint(path, rollout)
    dynamics = mujoco_dynamics(identity["task"])
    task, seeds = make_training_task(identity["task"]), snapshot.counters["seeds"]
    agent, world = restore_parts(snapshot, from_dict(identity["config"]), task)
    if world.model is None:
        raise ValueError(f"{path} was trained without a model: there is no model error to measure")

    def streams(purpose: str) -> Streams:
        return Streams([(seed, measurement.seed) for seed in seeds], f"gradient-error-{purpose}")

    n, m = agent.sizes
    rows = snapshot.tensors["real.0"]
    index = streams("start").integers(rows.shape[1], measurement.samples)
    start = rows[..., :n].gather(1, index.unsqueeze(-1).expand(-1, -1, n))
    noise = draw_rollout_noise(
        streams("noise"),
        world.model,
        measurement.reference_steps,
        (measurement.samples,),
        n,
        m,
        agent.config.actor.terminal_samples,
    )
    setting = _setting(agent, world, world.model, dynamics)
    gradients = horizon_gradients(setting, start, noise, measurement.horizons)
    table = _quality_table(gradients, seeds, streams)
    table.insert(0, "task", identity["task"])
    table.insert(1, "algo", identity["algorithm"])
    table.insert(3, "rollout", snapshot.counters["rollouts"])
    table.insert(4, "reference_steps", measurement.reference_steps)
    table.insert(7, "samples", measurement.samples)
    return table


def _quality_table(
    gradients: Mapping[int, Gradients], seeds: Sequence[int], streams: StreamFactory
) -> pd.DataFrame:
    """A row per horizon, part and seed."""
    tables = []
    for horizon, named in gradients.items():
        for part, (estimate, target) in PARTS.items():
            quality = measure(named[estimate], named[target], streams("resampling"))
            columns = {name: values.numpy() for name, values in quality._asdict().items()}
            table = pd.DataFrame({"seed": seeds, "horizon": horizon, "part": part})
            tables.append(table.assign(**columns))
    return pd.concat(tables, ignore_index=True)


def _setting(agent: Agent, world: World, model: Dynamics, true: Dynamics) -> Setting:
    """The run's objective on its model and on the true dynamics, with constant critics."""
    critics = agent.critics.replace([p.detach() for p in agent.critics.parameters])
    policy = agent.policy.replace(tuple(p.detach() for p in agent.policy.parameters))
    learned = Problem(model, world.reward, world.terminated, critics, world.discount)
    return Setting(
        learned,
        learned._replace(dynamics=true),
        policy,
        agent.temperature,
        agent.config.actor.entropy,
    )


def summary(table: pd.DataFrame) -> str:
    """Means over seeds as readable lines: a block per measure, a row per H, a column per part."""
    blocks = []
    for column, title in SUMMARY.items():
        means = table.pivot_table(index="horizon", columns="part", values=column, sort=False)
        lines = means[list(PARTS)].rename_axis(index="H", columns=None)
        blocks.append(f"{title}\n{lines.to_string(float_format=lambda value: f'{value:.3g}')}")
    return "\n".join(blocks)
