"""How wrong a run's actor gradient is, measured with the true dynamics of its task."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from maac_bench.agent import Agent
from maac_bench.checkpoint import Snapshot
from maac_bench.checks import require_whole
from maac_bench.config import from_dict
from maac_bench.displacement import flattened, shuffled
from maac_bench.gradient_parts import PARTS, Gradients, Setting, Through, horizon_gradients
from maac_bench.gradient_quality import OUTLIER, Quality, cosine, measure
from maac_bench.products import fast_products
from maac_bench.rollout import draw_rollout_noise
from maac_bench.run_checkpoints import require_checkpoint
from maac_bench.run_evaluation import restore_parts
from maac_bench.run_measurement import (
    actor_setting,
    blocks,
    displaced_policy,
    measuring_streams,
    require_dials,
    require_model,
    start_states,
    true_dynamics,
)
from maac_bench.run_records import read_identity
from maac_bench.streams import StreamFactory
from maac_bench.tasks import make_training_task

_COLUMNS = ["task", "algo", "seed", "rollout", "through", "reference_steps", "horizon", "part"]
_COLUMNS += ["samples", "replicates", "displacement", "shuffled_model"]

SUMMARY = {
    "cosine": "cosine of the mean gradients",
    "cosine_error": "standard error of a seed's cosine",
    "cosine_halves": "cosine between the halves of the target (near 0: noise)",
    "sample_cosine": "cosine of single samples, median",
    "norm_ratio": "ratio of the mean gradients' norms",
    "exploding_target": f"share of the target's samples above {OUTLIER:g} medians",
}
"""What is printed: column and its title."""


@dataclass(frozen=True)
class Measurement:
    """The dials of the measurement."""

    horizons: tuple[int, ...] = (0, 1, 2, 4, 6, 8, 10)
    """H, model transitions before the critic; of runs without a model 0 alone"""
    through: Through = "score_function"
    """how the true dynamics are differentiated: from returns alone, which smooths contacts over the
    policy's noise, or pathwise, through their derivative"""
    samples: int = 64
    """start states per seed, drawn from the run's real transitions"""
    replicates: int | None = None
    """rollouts from each of them; default: 256, or 1 for pathwise"""
    reference_steps: int = 20
    """L, true transitions of the reference gradient"""
    displacement: float = 0.0
    """how far off the run's policy to measure: every parameter tensor is moved at random by this
    share of its length. At 0 what is measured is what optimisation has left of the gradient"""
    shuffled_model: bool = False
    """a control: the learned model with its weights in random order, which has lost what it learned
    (but not its scales, nor that a state is like the last one)"""
    seed: int = 0
    """random seed of start states, noise, displacement and shuffling"""

    def __post_init__(self) -> None:
        """Refuse what gives no numbers."""
        require_whole(self)
        require_dials(self)
        if self.samples < 4:
            raise ValueError(f"samples must be at least 4, got {self.samples}")
        if self.through not in typing.get_args(Through):
            choices = ", ".join(typing.get_args(Through))
            raise ValueError(f"through {self.through!r} is unknown; choose from {choices}")
        least = 2 if self.through == "score_function" else 1
        if self.rollouts < least:
            raise ValueError(
                f"replicates must be at least {least} for {self.through}, got {self.replicates}"
            )
        if self.reference_steps < 1:
            raise ValueError(f"reference_steps must be at least 1, got {self.reference_steps}")
        if self.shuffled_model and not any(self.horizons):
            raise ValueError("shuffled_model does nothing at H = 0, where no model is asked")
        if max(self.horizons) > self.reference_steps:
            raise ValueError(
                f"reference_steps must be at least the longest horizon, {max(self.horizons)}, "
                f"got {self.reference_steps}"
            )

    @property
    def rollouts(self) -> int:
        """Replicates of every start state."""
        if self.replicates is None:
            return 256 if self.through == "score_function" else 1
        return self.replicates


def gradient_error(
    path: Path,
    measurement: Measurement,
    rollout: int | None = None,
    on_rollouts: Callable[[float], object] = lambda _share: None,
) -> pd.DataFrame:
    """The parts of the actor gradient's error, for every seed of a run and every H.

    Args:
        path: run directory; only read.
        measurement: the dials.
        rollout: which checkpoint; default: the newest.
        on_rollouts: called after every block of rollouts with its share of all, out of 1.

    Returns:
        Columns task, algo, seed, rollout (how long the run was trained), through, reference_steps,
        horizon, part (see `gradient_parts`), samples, replicates, displacement, shuffled_model (0
        or 1), the fields of `gradient_quality.Quality`, target_norm (length of the mean target
        gradient) and step_back (its cosine with the step back to the run's own policy, which asks
        neither model nor critic; NaN without a displacement).

    Raises:
        ValueError: no run, no checkpoint yet, a damaged one, a run without a model for H > 0 or to
            shuffle, or a task without true dynamics that can be started anywhere.
        FloatingPointError: a gradient is not finite.
    """
    identity, snapshot = read_identity(path), require_checkpoint(path, rollout)
    task, config = make_training_task(identity["task"]), from_dict(identity["config"])
    dynamics = true_dynamics(task)
    tables, count = [], len(snapshot.counters["seeds"])
    # One seed at a time: a gradient of its own for every start state takes up much memory.
    for k in range(count):
        alone = snapshot.select([k])
        agent, world = restore_parts(alone, config, task)
        model = world.model
        require_model(path, model, config, measurement)
        if model is not None and measurement.shuffled_model:
            streams = measuring_streams(alone.counters["seeds"], measurement.seed, "shuffling")
            model = shuffled(model, streams)
        # At H = 0 no model is asked.
        setting = actor_setting(agent, world, dynamics if model is None else model, dynamics)
        tables.append(
            _of_one_seed(
                alone, agent, setting, measurement, lambda share: on_rollouts(share / count)
            )
        )
    # Seeds side by side.
    table = pd.concat(tables).sort_index(kind="stable").reset_index(drop=True)
    table = table.assign(
        task=identity["task"],
        algo=identity["algorithm"],
        rollout=snapshot.counters["rollouts"],
        through=measurement.through,
        reference_steps=measurement.reference_steps,
        samples=measurement.samples,
        replicates=measurement.rollouts,
        displacement=measurement.displacement,
        shuffled_model=int(measurement.shuffled_model),
    )
    return table[[*_COLUMNS, *Quality._fields, "target_norm", "step_back"]]


def _of_one_seed(
    snapshot: Snapshot,
    agent: Agent,
    setting: Setting,
    measurement: Measurement,
    on_rollouts: Callable[[float], object],
) -> pd.DataFrame:
    """A row per horizon and part, of a snapshot of one seed."""
    seeds, (n, m) = snapshot.counters["seeds"], agent.sizes
    streams = partial(measuring_streams, seeds, measurement.seed)
    own = setting.policy
    moved = displaced_policy(own, seeds, measurement.displacement, measurement.seed)
    setting = setting._replace(policy=moved)
    states = snapshot.tensors["real.0"][..., :n]
    start = start_states(states, seeds, measurement.samples, measurement.seed)
    draws, means = streams("noise"), dict[int, Gradients]()
    for replicates in blocks(measurement.rollouts, measurement.samples):
        noise = draw_rollout_noise(
            draws,
            setting.learned.dynamics,
            measurement.reference_steps,
            (measurement.samples, replicates),
            n,
            m,
            agent.config.actor.terminal_samples,
        )
        repeated = start.unsqueeze(2).expand(-1, -1, replicates, -1)
        with fast_products():
            named = horizon_gradients(
                setting, repeated, noise, measurement.horizons, measurement.through
            )
        _add(means, named, replicates / measurement.rollouts)
        on_rollouts(replicates / measurement.rollouts)
    _require_finite(means, seeds)
    back = flattened(own.parameters) - flattened(moved.parameters)
    return _quality_table(means, seeds, streams, back)


def _add(total: dict[int, Gradients], block: Mapping[int, Gradients], weight: float) -> None:
    """Add a block's share to the means, in place: one block is in memory at a time."""
    for horizon, gradients in block.items():
        known = total.setdefault(horizon, {})
        for name, gradient in gradients.items():
            known[name] = weight * gradient + known.get(name, 0.0)


def _require_finite(means: Mapping[int, Gradients], seeds: Sequence[int]) -> None:
    for horizon, gradients in means.items():
        for name, gradient in gradients.items():
            bad = ~torch.isfinite(gradient).all(dim=-1)
            if bool(bad.any()):
                seed, count = seeds[int(bad.any(dim=1).nonzero()[0])], int(bad.sum())
                raise FloatingPointError(
                    f"gradient {name!r} at H = {horizon} is not finite for {count} start states, "
                    f"the first of them of seed {seed}"
                )


def _quality_table(
    gradients: Mapping[int, Gradients], seeds: Sequence[int], streams: StreamFactory, back: Tensor
) -> pd.DataFrame:
    """A row per horizon, part and seed; `back` leads to the run's own policy, [seeds, P]."""
    tables = []
    for horizon, named in gradients.items():
        for part, (estimate, target) in PARTS.items():
            quality = measure(named[estimate], named[target], streams("resampling"))
            columns = {name: values.numpy() for name, values in quality._asdict().items()}
            mean = named[target].mean(dim=1)
            columns["target_norm"] = mean.norm(dim=-1).numpy()
            columns["step_back"] = cosine(back, mean).numpy()
            table = pd.DataFrame({"seed": seeds, "horizon": horizon, "part": part})
            tables.append(table.assign(**columns))
    return pd.concat(tables, ignore_index=True)


def summary(table: pd.DataFrame) -> str:
    """Means over seeds as readable lines: the actor's gradient first, then a block per measure.

    A row per H; in the later blocks a column per part.
    """
    first = {"cosine": "cosine", "cosine_error": "± of a seed", "norm_ratio": "length"}
    total = table[table["part"] == "total"].groupby("horizon")[list(first)].mean()
    lines = total.rename(columns=first).rename_axis(index="H")
    blocks = [
        f"actor's gradient against the reference, {table['reference_steps'].iloc[0]} true steps "
        "closed by the run's own critic (cosine 1: the same direction; length: in units of the "
        f"reference's)\n{lines.to_string(float_format=lambda value: f'{value:.3g}')}\n"
    ]
    for column, title in SUMMARY.items():
        # Not pivot_table, which leaves out a part that has no number.
        means = table.groupby(["horizon", "part"], sort=False)[column].mean().unstack()
        lines = means[list(PARTS)].rename_axis(index="H", columns=None)
        blocks.append(f"{title}\n{lines.to_string(float_format=lambda value: f'{value:.3g}')}")
    return "\n".join(blocks)
