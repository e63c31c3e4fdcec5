"""What a step along a run's actor gradient does to the test return.

`run_gradient_error` compares gradients with a reference that the run's own critic closes. Here
only the environment is asked: policies a step up and a step down the gradient are tested (the
optimisation landscapes of Ilyas et al. 2020, "A Closer Look at Deep Policy Gradients"). So it works
on every task, and neither critic nor length of a reference is taken on trust. It is not the same
question: a test return begins at the task's start, is not discounted, and has neither noise nor
entropy bonus; the actor's objective begins at states of its replay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from maac_bench.checks import require_distinct, require_whole
from maac_bench.config import from_dict
from maac_bench.displacement import displaced, flattened, shuffled
from maac_bench.dynamics import Ensemble, NoDynamics
from maac_bench.episodes import Episodes, MakeEnv
from maac_bench.evaluation import run_episode
from maac_bench.gradient_parts import Setting, actor_gradients, score_gradients, shortened
from maac_bench.gradient_quality import cosine
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
from maac_bench.streams import Streams
from maac_bench.tasks import make_training_task
from maac_bench.types import Gradient, Policy


@dataclass(frozen=True)
class Probe:
    """The dials of the measurement."""

    horizons: tuple[int, ...] = (0, 4)
    """H, model transitions before the critic; of runs without a model 0 alone"""
    steps: tuple[float, ...] = (0.0003, 0.001, 0.003)
    """lengths of the steps, as shares of the length of all parameters of the policy"""
    episodes: int = 5
    """test episodes of every policy, all from the same start states"""
    samples: int = 64
    """start states of the gradient per seed, drawn from the run's real transitions"""
    replicates: int = 128
    """rollouts from each of them"""
    reference_steps: int = 0
    """also follow the gradient through that many true transitions, closed by the run's critic:
    the reference of gradient-error; 0: do not"""
    displacement: float = 0.0
    """how far off the run's policy to begin, as in gradient-error"""
    seed: int = 0
    """random seed of start states, noise, displacement and controls"""

    def __post_init__(self) -> None:
        """Refuse what gives no numbers."""
        require_whole(self)
        require_dials(self)
        if not self.steps or not all(0.0 < step < math.inf for step in self.steps):
            raise ValueError(f"steps must be one or more positive numbers, got {self.steps}")
        require_distinct(self, "steps")
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


_LEAST = {"episodes": 2, "samples": 2, "replicates": 2, "reference_steps": 0}


class Direction(NamedTuple):
    """Where a policy is moved to.

    name: learned, reference or a control. horizon: transitions that are differentiated, None where
    there are none. gradient: [1, P]. halves: cosine between the gradients of two halves of the
    start states, 1 where nothing is sampled.
    """

    name: str
    horizon: int | None
    gradient: Tensor
    halves: float = 1.0


_COLUMNS = ["task", "algo", "seed", "rollout", "direction", "horizon", "samples", "replicates"]
_COLUMNS += ["displacement", "halves", "step", "episodes", "return_before", "return", "gain"]
_COLUMNS += ["gain_error"]


def landscape(
    path: Path,
    probe: Probe,
    rollout: int | None = None,
    on_direction: Callable[[float], object] = lambda _share: None,
) -> pd.DataFrame:
    """Test returns of policies a step up and a step down the actor's gradient.

    Directions: `learned`, the actor's objective through the learned model; `shuffled`, the same
    through a model with its weights in random order, a control; `reference`; `step_back` to the
    run's own policy; `random`, every parameter tensor in a random direction.

    Args:
        path: run directory; only read.
        probe: the dials.
        rollout: which checkpoint; default: the newest.
        on_direction: called after every direction with its share of all, out of 1.

    Returns:
        Columns task, algo, seed, rollout, direction, horizon (none for step_back and random),
        samples, replicates, displacement, halves (cosine between the gradients of two halves of
        the start states), step (share of the length of the policy's parameters, negative
        downwards), episodes, return_before and return (means), gain (their difference) and
        gain_error (its standard error over episodes).

    Raises:
        ValueError: no run, no such checkpoint, a damaged one, a run without a model for H > 0, or
            a reference on a task without true dynamics that can be started anywhere.
        FloatingPointError: a gradient or a return is not finite.
    """
    identity, snapshot = read_identity(path), require_checkpoint(path, rollout)
    task, config = make_training_task(identity["task"]), from_dict(identity["config"])
    true = true_dynamics(task) if probe.reference_steps else NoDynamics()
    rows, seeds = [], snapshot.counters["seeds"]
    for k, seed in enumerate(seeds):
        alone = snapshot.select([k])
        agent, world = restore_parts(alone, config, task)
        require_model(path, world.model, config, probe)
        setting = actor_setting(agent, world, world.dynamics, true)
        moved = displaced_policy(setting.policy, [seed], probe.displacement, probe.seed)
        states = alone.tensors["real.0"][..., : agent.sizes[0]]
        place = _Place(
            setting._replace(policy=moved),
            setting.policy,
            start_states(states, [seed], probe.samples, probe.seed),
            config.actor.terminal_samples,
            probe,
            seed,
        )
        before = returns_along(moved, moved.parameters, [0.0], probe.episodes, task.make, seed)
        planned = planned_directions(probe, has_model=world.model is not None)
        for name, horizon in planned:
            direction = _direction(name, horizon, place, world.model)
            rows += _tested(direction, place, before, task.make)
            on_direction(1.0 / (len(planned) * len(seeds)))
    table = pd.DataFrame(rows).assign(
        task=identity["task"],
        algo=identity["algorithm"],
        rollout=snapshot.counters["rollouts"],
        samples=probe.samples,
        replicates=probe.replicates,
        displacement=probe.displacement,
        episodes=probe.episodes,
    )
    return table.astype({"horizon": "Int64"})[_COLUMNS]


def returns_along(
    policy: Policy,
    direction: Gradient,
    steps: Sequence[float],
    episodes: int,
    make: MakeEnv,
    seed: int,
) -> Tensor:
    """Test returns of policies moved along a direction, [episodes, steps].

    Args:
        policy: where they begin, stack (1,).
        direction: of any length, one tensor per parameter.
        steps: shares of the length of the policy's parameters.
        episodes: each with the mean action, all policies from the same start states.
        make: makes an environment with a time limit.
        seed: the run's, of the start states.
    """
    unit = flattened(policy.parameters).norm() / flattened(direction).norm()
    stacked = policy.replace(
        tuple(
            torch.cat([here + step * unit * along for step in steps])
            for here, along in zip(policy.parameters, direction, strict=True)
        )
    )
    environments = Episodes(make, [seed] * len(steps), "test")
    with fast_products():
        found = [run_episode(stacked.mean_action, environments).returns for _ in range(episodes)]
    environments.close()
    return torch.stack(found)


class _Place(NamedTuple):
    """Where one seed is measured: `setting` has the policy to begin at, `own` is the run's."""

    setting: Setting
    own: Policy
    start: Tensor
    terminal_samples: int
    probe: Probe
    seed: int

    @property
    def policy(self) -> Policy:
        return self.setting.policy

    def streams(self, purpose: str) -> Streams:
        return measuring_streams([self.seed], self.probe.seed, purpose)


def _tested(
    direction: Direction, place: _Place, before: Tensor, make: MakeEnv
) -> list[dict[str, object]]:
    """A row per step, upwards and downwards."""
    episodes, along = place.probe.episodes, _like(direction.gradient, place.policy.parameters)
    steps = [sign * step for step in place.probe.steps for sign in (-1.0, 1.0)]
    returns = returns_along(place.policy, along, steps, episodes, make, place.seed)
    gains = returns - before
    if not bool(torch.isfinite(gains).all()):
        raise FloatingPointError(
            f"a test return of seed {place.seed} is not finite in the direction {direction.name}"
        )
    error = gains.std(dim=0) / math.sqrt(episodes)
    return [
        {
            "seed": place.seed,
            "direction": direction.name,
            "horizon": direction.horizon,
            "halves": direction.halves,
            "step": step,
            "return_before": float(before.mean()),
            "return": float(returns[:, k].mean()),
            "gain": float(gains[:, k].mean()),
            "gain_error": float(error[k]),
        }
        for k, step in enumerate(steps)
    ]


def planned_directions(probe: Probe, *, has_model: bool) -> list[tuple[str, int | None]]:
    """Name and horizon of all that are followed."""
    learned: list[tuple[str, int | None]] = [("learned", horizon) for horizon in probe.horizons]
    # At H = 0 no model is asked.
    shuffles = [("shuffled", horizon) for horizon in probe.horizons if horizon and has_model]
    reference = [("reference", probe.reference_steps)] if probe.reference_steps else []
    back = [("step_back", None)] if probe.displacement else []
    return [*learned, *shuffles, *reference, *back, ("random", None)]


def _direction(name: str, horizon: int | None, place: _Place, model: Ensemble | None) -> Direction:
    """One of them from a place, with the model of the run."""
    here = place.policy.parameters
    if name == "step_back":
        return Direction(name, None, flattened(place.own.parameters) - flattened(here))
    if horizon is None:
        elsewhere = displaced(here, 1.0, place.streams("random-direction"))
        return Direction(name, None, flattened(elsewhere) - flattened(here))
    if name == "shuffled" and model is not None:
        mixed = shuffled(model, place.streams("shuffling"))
        learned = place.setting.learned._replace(dynamics=mixed)
        place = place._replace(setting=place.setting._replace(learned=learned))
    return _sampled(name, place, horizon)


def _sampled(name: str, place: _Place, horizon: int) -> Direction:
    """The mean of a gradient over start states and rollouts; all directions share the noise."""
    probe, setting, draws = place.probe, place.setting, place.streams("noise")
    action_size = place.policy.mean_action(place.start[:, :1]).shape[-1]
    gradient = torch.zeros(())
    for replicates in blocks(probe.replicates, probe.samples):
        noise = draw_rollout_noise(
            draws,
            setting.learned.dynamics,
            max(*probe.horizons, probe.reference_steps),
            (probe.samples, replicates),
            place.start.shape[-1],
            action_size,
            place.terminal_samples,
        )
        start = place.start.unsqueeze(2).expand(-1, -1, replicates, -1)
        with fast_products():
            if name == "reference":
                block = score_gradients(setting, start, noise, (horizon,))[1](horizon)
            else:
                block = actor_gradients(setting, setting.learned, start, shortened(noise, horizon))
        gradient = gradient + block * (replicates / probe.replicates)
    mean = gradient.mean(dim=1)
    if not bool(torch.isfinite(mean).all()) or not bool(mean.any()):
        raise FloatingPointError(
            f"the {name} gradient of seed {place.seed} at H = {horizon} has no direction: it is "
            "zero or not finite"
        )
    one, other = (half.mean(dim=1) for half in gradient.tensor_split(2, dim=1))
    return Direction(name, horizon, mean, float(cosine(one, other)))


def _like(flat: Tensor, parameters: Gradient) -> Gradient:
    """`flattened`, undone."""
    parts = flat.split([one[0].numel() for one in parameters], dim=1)
    return tuple(part.reshape(one.shape) for part, one in zip(parts, parameters, strict=True))


def summary(table: pd.DataFrame) -> str:
    """Means over seeds as readable lines: a row per direction, a column per step."""
    names = table["direction"].str.replace("_", " ")
    known = table["horizon"].notna()
    names[known] += ", H = " + table["horizon"][known].astype(str)
    gains = table.assign(direction=names).pivot_table(
        "gain", "direction", "step", "mean", sort=False
    )
    gains = gains.sort_index(axis=1).rename_axis(index=None, columns=None)
    before = table.groupby("seed")["return_before"].first()
    count = f"{len(before)} seeds, " if len(before) > 1 else ""
    return (
        f"test return where the steps begin: {before.mean():.1f} ({count}"
        f"{table['episodes'].iloc[0]} episodes each)\n"
        "what a step along a gradient adds to it (step: share of the length of the policy's "
        "parameters; negative: down the gradient)\n"
        f"{gains.to_string(float_format=lambda value: f'{value:.1f}')}"
    )
