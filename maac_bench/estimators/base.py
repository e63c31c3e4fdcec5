"""What every policy-gradient estimator shares: one signature, and per-sample gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias, get_args, runtime_checkable

import torch
from torch import Tensor

from maac_bench.checks import require_whole
from maac_bench.rollout import draw_rollout_noise
from maac_bench.streams import Streams
from maac_bench.types import Gradient, Policy, Problem, RolloutNoise

CriticRole: TypeAlias = Literal["closes", "baseline", "none", "own"]
"""What an estimator does with the critic.

closes: it ends the H-step objective, which is then the target; otherwise that is the return cut
after H rewards. baseline: it is only subtracted. none: it is never asked. own: whatever it does,
the estimate's mean is neither, so it has no closed form here.
"""


class EstimatorNoise(NamedTuple):
    """Everything random in one estimate.

    rollout: noise of the rollouts. directions: parameter perturbations, one per policy parameter,
    [*stack, N, *parameter]; empty for estimators that differentiate.
    """

    rollout: RolloutNoise
    directions: tuple[Tensor, ...] = ()


# With parameters of about 1; a tenth of it is rounding already.
_LEAST_SMOOTHING = 1e-6


@dataclass(frozen=True)
class Settings:
    """The dials of an estimator; one that has no use for a dial refuses it."""

    horizon: int = 4
    """H, the number of model transitions; dpg has none"""
    terminal_samples: int = 1
    """actions averaged in the terminal value, K"""
    temperature: float = 0.0
    """weight of the entropy bonus on the first action"""
    smoothing: float = 0.01
    """standard deviation of the parameter perturbation (zeroth-order)"""

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        require_whole(self)
        if self.horizon < 0:
            raise ValueError(f"horizon must be at least 0, got {self.horizon}")
        if self.terminal_samples < 1:
            raise ValueError(f"terminal_samples must be at least 1, got {self.terminal_samples}")
        if not 0 < self.smoothing < math.inf:
            raise ValueError(f"smoothing must be positive and finite, got {self.smoothing}")
        if self.smoothing < _LEAST_SMOOTHING:
            raise ValueError(
                f"smoothing must be at least {_LEAST_SMOOTHING:g}, got {self.smoothing}: float32 "
                "does not resolve smaller steps"
            )
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature must be at least 0, got {self.temperature}")


def require_default(settings: Settings, estimator: str, *names: str) -> None:
    """ValueError if a dial that `estimator` has no use for is not at its default."""
    for name in names:
        if getattr(settings, name) != getattr(Settings(), name):
            raise ValueError(f"{estimator} has no use for {name}: leave it at its default")


def require_rewards(settings: Settings, estimator: str) -> None:
    """ValueError if an estimator without a critic would see no reward either."""
    if settings.horizon < 1:
        raise ValueError(f"{estimator} has no critic and needs a horizon of at least 1")


@runtime_checkable
class Estimator(Protocol):
    """A policy-gradient estimator: draw the noise, then a deterministic function of it."""

    @property
    def settings(self) -> Settings:
        """The estimator's dials."""

    @property
    def critic_role(self) -> CriticRole:
        """What it does with the critic, and thereby what its target is."""

    def draw(
        self, streams: Streams, problem: Problem, policy: Policy, start: Tensor
    ) -> EstimatorNoise:
        """Noise for one estimate from `start`, [seeds, N, n]."""

    def gradient(
        self, problem: Problem, policy: Policy, start: Tensor, noise: EstimatorNoise
    ) -> Gradient:
        """Estimate of the objective's gradient, averaged over the N samples.

        Args:
            problem: what is differentiated through.
            policy: parameters with stack axes (seeds,), or (seeds, N) for one per sample.
            start: s_0, [seeds, N, n].
            noise: from `draw`.

        Returns:
            One tensor per policy parameter, each of that parameter's shape.
        """


def require_role(estimator: Estimator) -> None:
    """ValueError naming the roles if an estimator's is none: another one has another target."""
    roles = get_args(CriticRole)
    if estimator.critic_role not in roles:
        raise ValueError(
            f"unknown critic_role {estimator.critic_role!r}; choose from {', '.join(roles)}"
        )


def draw_noise(
    settings: Settings, streams: Streams, problem: Problem, policy: Policy, start: Tensor
) -> EstimatorNoise:
    """Rollout noise for `settings.horizon` transitions; what most estimators need."""
    action_size = policy.mean_action(start[:, :1]).shape[-1]
    noise = draw_rollout_noise(
        streams,
        problem.dynamics,
        settings.horizon,
        tuple(start.shape[1:-1]),
        start.shape[-1],
        action_size,
        settings.terminal_samples,
    )
    return EstimatorNoise(noise)


def differentiate(objective: Callable[[Policy], Tensor], policy: Policy) -> Gradient:
    """Gradient of each stacked policy's mean objective.

    Args:
        objective: maps a policy to per-sample values, [*stack, ...].
        policy: where to differentiate.

    Returns:
        One tensor per parameter. A parameter the objective ignores gets zeros.
    """
    leaves = tuple(p.detach().requires_grad_() for p in policy.parameters)
    values = objective(policy.replace(leaves))
    samples = values.numel() // max(1, _stack_size(policy))
    if not values.requires_grad:
        return tuple(torch.zeros_like(leaf) for leaf in leaves)
    return torch.autograd.grad(
        values.sum() / samples, leaves, allow_unused=True, materialize_grads=True
    )


def per_sample_policy(policy: Policy, samples: int) -> Policy:
    """The same parameters copied for every sample: stack (seeds,) becomes (seeds, N).

    An estimator given this policy returns one gradient per sample, from a single backward pass.
    """
    return policy.replace(
        tuple(
            p.unsqueeze(1).expand(-1, samples, *([-1] * (p.dim() - 1))) for p in policy.parameters
        )
    )


def _stack_size(policy: Policy) -> int:
    return int(torch.Size(policy.stack).numel())
