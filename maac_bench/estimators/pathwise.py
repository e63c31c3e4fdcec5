"""Pathwise (reparameterised) policy gradients through the dynamics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from maac_bench.estimators.base import (
    CriticRole,
    EstimatorNoise,
    Settings,
    differentiate,
    draw_noise,
    require_default,
    require_rewards,
)
from maac_bench.objectives.pathwise import actor_objective
from maac_bench.streams import Streams
from maac_bench.types import Gradient, Policy, Problem


@dataclass(frozen=True)
class ModelAugmented:
    """MAAC(H): H differentiated transitions closed by the critic (Clavera et al. 2020, Sec. 4.1).

    The gradient of `objectives.pathwise.actor_objective`, the objective of an actor update.
    """

    settings: Settings
    critic_role: ClassVar[CriticRole] = "closes"

    def __post_init__(self) -> None:
        """Refuse dials without effect."""
        require_default(self.settings, "the pathwise estimator", "smoothing")

    def draw(
        self, streams: Streams, problem: Problem, policy: Policy, start: Tensor
    ) -> EstimatorNoise:
        """Rollout noise."""
        return draw_noise(self.settings, streams, problem, policy, start)

    def gradient(
        self, problem: Problem, policy: Policy, start: Tensor, noise: EstimatorNoise
    ) -> Gradient:
        """See `Estimator.gradient`."""

        def objective(candidate: Policy) -> Tensor:
            return actor_objective(
                problem, candidate, start, noise.rollout, self.settings.temperature
            )

        return differentiate(objective, policy)


def deterministic_policy_gradient(settings: Settings) -> ModelAugmented:
    """H = 0: the critic alone (Lillicrap et al. 2015; with entropy, SAC's actor loss).

    Raises:
        ValueError: a horizon that is neither 0 nor left at its default.
    """
    if settings.horizon:
        require_default(settings, "the deterministic policy gradient", "horizon")
    return ModelAugmented(replace(settings, horizon=0))


@dataclass(frozen=True)
class BackpropagationThroughTime:
    """H differentiated transitions and no critic: SVG(infinity), a shooting gradient.

    Its target is the gradient of the return cut after H rewards (Heess et al. 2015).
    """

    settings: Settings
    critic_role: ClassVar[CriticRole] = "none"

    def __post_init__(self) -> None:
        """Refuse dials without effect."""
        require_rewards(self.settings, "backpropagation through time")
        require_default(
            self.settings, "backpropagation through time", "smoothing", "terminal_samples"
        )

    def draw(
        self, streams: Streams, problem: Problem, policy: Policy, start: Tensor
    ) -> EstimatorNoise:
        """Rollout noise."""
        return draw_noise(self.settings, streams, problem, policy, start)

    def gradient(
        self, problem: Problem, policy: Policy, start: Tensor, noise: EstimatorNoise
    ) -> Gradient:
        """See `Estimator.gradient`."""
        cut = problem._replace(critic=no_critic)

        def objective(candidate: Policy) -> Tensor:
            return actor_objective(cut, candidate, start, noise.rollout, self.settings.temperature)

        return differentiate(objective, policy)


def no_critic(state: Tensor, action: Tensor) -> Tensor:
    """A terminal value of zero, [1, ...]."""
    return torch.zeros_like(action[..., 0]).unsqueeze(0)
