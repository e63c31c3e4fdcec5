"""What a task is: a Gymnasium environment plus batched tensor functions."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from analytic import LQG
from maac_bench.streams import Streams
from maac_bench.types import Dynamics, RewardFunction, TerminationFunction


class StartDistribution(Protocol):
    """Draws start states."""

    def __call__(self, streams: Streams, count: int) -> Tensor:
        """`count` start states per seed, [seeds, count, n]."""


class TensorDynamics(NamedTuple):
    """The true task as differentiable tensor operations. dynamics: f; start: p0."""

    dynamics: Dynamics
    start: StartDistribution


class Task(NamedTuple):
    """A control task with batched, differentiable model-side functions.

    Fields:
        name: Gymnasium identifier, `namespace/Name-v0`.
        state_size: n.
        action_size: m.
        discount: gamma.
        reward: `r(s, a, s')`; actions in the environment's own units.
        terminated: 1.0 where the episode ends at `s'`.
        true: the task itself in tensors; None where only the environment can step it.
        lqg: the oracle's view of the task, where it has one.
    """

    name: str
    state_size: int
    action_size: int
    discount: float
    reward: RewardFunction
    terminated: TerminationFunction
    true: TensorDynamics | None = None
    lqg: LQG | None = None


def never(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """No state ends the episode."""
    return torch.zeros_like(next_state[..., 0])


def require_lqg(task: Task) -> LQG:
    """The task's closed form; ValueError if it has none."""
    if task.lqg is None:
        raise ValueError(
            f"task {task.name!r} has no exact gradient: choose a linear-quadratic one, such as "
            "maac_bench/DoubleIntegrator-v0"
        )
    return task.lqg


def require_true(task: Task) -> TensorDynamics:
    """The task in tensors; ValueError if only an environment can step it."""
    if task.true is None:
        raise ValueError(
            f"task {task.name!r} has no tensor dynamics: only its environment steps it"
        )
    return task.true
