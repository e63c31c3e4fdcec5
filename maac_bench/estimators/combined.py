"""Inverse-variance combination of the pathwise and the score-function gradient."""

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
    require_default,
)
from maac_bench.estimators.pathwise import ModelAugmented
from maac_bench.estimators.score_function import ScoreFunction
from maac_bench.streams import Streams
from maac_bench.types import Gradient, Policy, Problem


@dataclass(frozen=True)
class InverseVariance:
    """`alpha g_pathwise + (1 - alpha) g_score`, `alpha = var_score / (var_score + var_pathwise)`.

    Total propagation (Parmas et al. 2018) and the alpha-order gradient (Suh et al. 2022), with the
    variances summed over parameters. Both parts have the same expectation where no state ends the
    episode (see `ScoreFunction`); elsewhere this estimates neither. The weight that multiplies one
    half of the batch is estimated on the other half, which keeps the combination unbiased: a weight
    from the same samples is correlated with them. As published, the covariance of the two parts,
    which share their rollouts, is ignored.
    """

    settings: Settings
    critic_role: ClassVar[CriticRole] = "closes"

    def __post_init__(self) -> None:
        """Refuse dials without effect."""
        require_default(self.settings, "the inverse-variance combination", "smoothing")

    def draw(
        self, streams: Streams, problem: Problem, policy: Policy, start: Tensor
    ) -> EstimatorNoise:
        """Rollout noise, shared by both parts."""
        if start.shape[1] < 4:
            raise ValueError(f"weighing variances needs at least 4 samples, got {start.shape[1]}")
        return draw_noise(self.settings, streams, problem, policy, start)

    def gradient(
        self, problem: Problem, policy: Policy, start: Tensor, noise: EstimatorNoise
    ) -> Gradient:
        """See `Estimator.gradient`; the policy's stack is (seeds,)."""
        copies = per_sample_policy(policy, start.shape[1])
        parts = (
            ModelAugmented(self.settings),
            ScoreFunction(self.settings, bootstrap=True, baseline=True),
        )
        pathwise, score = (part.gradient(problem, copies, start, noise) for part in parts)
        half = start.shape[1] // 2
        first, second = slice(None, half), slice(half, None)
        share = half / start.shape[1]
        weight_first = _weight(pathwise, score, second)
        weight_second = _weight(pathwise, score, first)
        return tuple(
            share * _mix(p, s, weight_first, first)
            + (1.0 - share) * _mix(p, s, weight_second, second)
            for p, s in zip(pathwise, score, strict=True)
        )


def _weight(pathwise: Gradient, score: Gradient, rows: slice) -> Tensor:
    """Weight of the pathwise part from the samples in `rows`, [seeds]."""

    def total_variance(gradients: Gradient) -> Tensor:
        return torch.stack([g[:, rows].var(dim=1).flatten(1).sum(dim=1) for g in gradients]).sum(0)

    noisy, quiet = total_variance(score), total_variance(pathwise)
    return noisy / (noisy + quiet).clamp(min=torch.finfo(noisy.dtype).tiny)


def _mix(pathwise: Tensor, score: Tensor, weight: Tensor, rows: slice) -> Tensor:
    """`w mean(pathwise) + (1 - w) mean(score)` over the samples in `rows`."""
    left, right = pathwise[:, rows].mean(dim=1), score[:, rows].mean(dim=1)
    return torch.lerp(right, left, weight.reshape(-1, *([1] * (left.dim() - 1))))
