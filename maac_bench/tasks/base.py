"""What a task is: tensor functions that broadcast over leading axes."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from analytic import LQG
from maac_bench.streams import Streams
from maac_bench.types import Dynamics, RewardFunction, TerminationFunction


class StartDistribution(Protocol):
    """Draws start states."""

    def __call__(self, streams: Streams, count: int) -> Tensor:
        """`count` start states per seed, [seeds, count, n]."""


class Task(NamedTuple):
    """A control task with batched, differentiable model-side functions.

    Fields:
        name: identifier, `namespace/Name-v0`.
        state_size: n.
        action_size: m.
        discount: gamma.
        reward: `r(s, a, s')`.
        terminated: 1.0 where the episode ends at `s'`.
        start: the start distribution p0.
        dynamics: the true dynamics as tensor operations.
        lqg: the oracle's view of the task, where it has one.
    """

    name: str
    state_size: int
    action_size: int
    discount: float
    reward: RewardFunction
    terminated: TerminationFunction
    start: StartDistribution
    dynamics: Dynamics
    lqg: LQG | None
