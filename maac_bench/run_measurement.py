"""What measurements of a run's gradient share: where they begin, and what is differentiated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from maac_bench.agent import Agent
from maac_bench.checks import require_distinct
from maac_bench.config import Config
from maac_bench.displacement import displaced
from maac_bench.dynamics import Ensemble
from maac_bench.gradient_parts import Setting
from maac_bench.streams import Streams
from maac_bench.tasks import TrainingTask
from maac_bench.tasks.mujoco_dynamics import mujoco_dynamics
from maac_bench.types import Dynamics, Policy
from maac_bench.world import World

_LARGEST_BLOCK = 8192  # rollouts in memory at a time


class Dials(Protocol):
    """What all of them can be asked."""

    @property
    def horizons(self) -> tuple[int, ...]:
        """H, model transitions before the critic."""

    @property
    def displacement(self) -> float:
        """How far off the run's policy, as a share of the length of every parameter tensor."""

    @property
    def seed(self) -> int:
        """Random seed."""


def require_dials(dials: Dials) -> None:
    """ValueError naming the first of the shared dials that gives no numbers."""
    if dials.seed < 0:
        raise ValueError(f"seed must be at least 0, got {dials.seed}")
    if not 0.0 <= dials.displacement < math.inf:
        raise ValueError(f"displacement must be at least 0 and finite, got {dials.displacement}")
    if not dials.horizons or min(dials.horizons) < 0:
        raise ValueError(f"horizons must be one or more, each at least 0, got {dials.horizons}")
    require_distinct(dials, "horizons")


def require_model(path: Path, model: Ensemble | None, config: Config, dials: Dials) -> None:
    """ValueError if a run has no model where one is asked."""
    if model is None and any(dials.horizons):
        reason = "has fitted no model yet" if config.uses_model else "learns no model"
        raise ValueError(f"{path} {reason}: it can be measured with --horizons 0 alone")


def measuring_streams(seeds: Sequence[int], seed: int, purpose: str) -> Streams:
    """The streams of a measurement with that random seed, for a stack of seeds."""
    return Streams([(one, seed) for one in seeds], f"gradient-error-{purpose}")


def start_states(states: Tensor, seeds: Sequence[int], samples: int, seed: int) -> Tensor:
    """That many of each seed's states [seeds, N, n], with equal chances, [seeds, samples, n]."""
    index = measuring_streams(seeds, seed, "start").integers(states.shape[1], samples)
    return states.gather(1, index.unsqueeze(-1).expand(-1, -1, states.shape[-1]))


def displaced_policy(policy: Policy, seeds: Sequence[int], share: float, seed: int) -> Policy:
    """What a measurement displaces a run's policy to, stack (seeds,)."""
    streams = measuring_streams(seeds, seed, "displacement")
    return policy.replace(displaced(policy.parameters, share, streams))


def true_dynamics(training: TrainingTask) -> Dynamics:
    """What really follows a state: the task's own tensors, or MuJoCo.

    Raises:
        ValueError: a task that has neither.
    """
    task = training.task
    return mujoco_dynamics(task.name) if task.true is None else task.true.dynamics


def actor_setting(agent: Agent, world: World, model: Dynamics, true: Dynamics) -> Setting:
    """The run's objective on its model and on the true dynamics, with constant critics."""
    policy = agent.policy.replace(tuple(p.detach() for p in agent.policy.parameters))
    learned = world.problem(model, agent.constant_critics())
    return Setting(
        learned,
        learned._replace(dynamics=true),
        policy,
        agent.temperature,
        agent.config.actor.entropy,
    )


def blocks(replicates: int, samples: int) -> list[int]:
    """Replicates as blocks of nearly equal size, at least two in each where there are two."""
    count = min(-(-replicates * samples // _LARGEST_BLOCK), max(1, replicates // 2))
    return [len(range(first, replicates, count)) for first in range(count)]
