"""Zeroth-order policy gradients: antithetic Gaussian smoothing of the parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from maac_bench.estimators.base import (
    CriticRole,
    EstimatorNoise,
    Settings,
    draw_noise,
    per_sample_policy,
)
from maac_bench.objectives.pathwise import actor_objective
from maac_bench.streams import Streams
from maac_bench.types import Gradient, Policy, Problem


@dataclass(frozen=True)
class ZerothOrder:
    """`[J(theta + sigma u) - J(theta - sigma u)] / (2 sigma) u`, `u ~ N(0, I)`.

    The gradient of the H-step objective smoothed with standard deviation sigma (Nesterov and
    Spokoiny 2017); each sample has its own direction, and its two rollouts share start and noise.
    The critic is not perturbed, so the target is that of the pathwise H-step estimator.
    """

    settings: Settings
    critic_role: ClassVar[CriticRole] = "closes"

    def draw(
        self, streams: Streams, problem: Problem, policy: Policy, start: Tensor
    ) -> EstimatorNoise:
        """Rollout noise and one direction per sample."""
        noise = draw_noise(self.settings, streams, problem, policy, start)
        samples = start.shape[1]
        directions = tuple(streams.normal(samples, *p.shape[1:]) for p in policy.parameters)
        return noise._replace(directions=directions)

    def gradient(
        self, problem: Problem, policy: Policy, start: Tensor, noise: EstimatorNoise
    ) -> Gradient:
        """See `Estimator.gradient`; the policy's stack is (seeds,)."""
        sigma = self.settings.smoothing
        copies = per_sample_policy(policy, start.shape[1])

        def value(sign: float) -> Tensor:
            moved = tuple(
                p + sign * sigma * u
                for p, u in zip(copies.parameters, noise.directions, strict=True)
            )
            candidate = copies.replace(moved)
            return actor_objective(
                problem, candidate, start, noise.rollout, self.settings.temperature
            )

        with torch.no_grad():
            slope = (value(1.0) - value(-1.0)) / (2.0 * sigma)
            return tuple(
                (slope.reshape(*slope.shape, *([1] * (u.dim() - 2))) * u).mean(dim=1)
                for u in noise.directions
            )
