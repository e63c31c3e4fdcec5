"""What an agent imagines with, as a record."""

from __future__ import annotations

from typing import NamedTuple

from maac_bench.critics import NeuralCritics
from maac_bench.dynamics import Ensemble, EveryMember, NoDynamics
from maac_bench.types import Dynamics, Interval, Problem, RewardFunction, TerminationFunction


class World(NamedTuple):
    """What the agent imagines with.

    model: None for a model-free configuration. rewards: least and largest one seen, [seeds] each;
    only bounded critics need them.
    """

    model: Ensemble | None
    reward: RewardFunction
    terminated: TerminationFunction
    discount: float
    rewards: Interval | None = None

    @property
    def dynamics(self) -> Dynamics:
        """One member for every sample and step."""
        return NoDynamics() if self.model is None else self.model

    def members(self, count: int) -> Dynamics:
        """The first `count` members side by side; 0: all of them."""
        if self.model is None:
            return NoDynamics()
        return EveryMember(self.model.first(count) if count else self.model)

    def problem(self, dynamics: Dynamics, critics: NeuralCritics) -> Problem:
        """What a rollout through these dynamics, closed by these critics, is."""
        return Problem(dynamics, self.reward, self.terminated, critics, self.discount)
