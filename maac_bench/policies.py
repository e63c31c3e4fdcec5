"""Stochastic policies as records of tensors: linear-Gaussian and squashed-Gaussian."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from maac_bench.nets import MLP
from maac_bench.types import Action, Gradient

LOG_STD_RANGE = (-20.0, 2.0)
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


class LinearGaussian(NamedTuple):
    """`a = -K s + L e`, `e ~ N(0, I)`; only K is learned.

    gain: K, [*stack, m, n]. scale: L, lower triangular, [m, m]; zero for a deterministic policy.
    """

    gain: Tensor
    scale: Tensor

    @property
    def stack(self) -> tuple[int, ...]:
        """The gain's leading axes."""
        return tuple(self.gain.shape[:-2])

    @property
    def parameters(self) -> Gradient:
        """(K,)."""
        return (self.gain,)

    def replace(self, parameters: Gradient) -> LinearGaussian:
        """The same noise with another gain."""
        return self._replace(gain=parameters[0])

    def mean_action(self, state: Tensor) -> Tensor:
        """`-K s`, [*stack, ..., m]."""
        stack = self.stack
        batch = state.shape[len(stack) : -1]
        flat = state.reshape(*stack, math.prod(batch), state.shape[-1])
        return -(flat @ self.gain.mT).reshape(*stack, *batch, self.gain.shape[-2])

    def sample(self, state: Tensor, noise: Tensor) -> Action:
        """`-K s + L noise` and its log-density."""
        value = self.mean_action(state) + noise @ self.scale.mT
        return Action(value, value, self._log_density(noise))

    def log_prob(self, state: Tensor, raw: Tensor) -> Tensor:
        """`log N(raw; -K s, L L')`, [...]; ValueError if the policy has no noise."""
        if not bool((self.scale.diagonal() > 0).all()):
            raise ValueError(
                "a policy without action noise has no log-density: its covariance (an LQG's "
                "action_cov) must be positive definite"
            )
        # Outside the differentiated part: L is a constant of the policy, and small.
        whiten = torch.linalg.inv(self.scale)
        return self._log_density((raw - self.mean_action(state)) @ whiten.mT)

    def _log_density(self, noise: Tensor) -> Tensor:
        log_det = torch.log(self.scale.diagonal()).sum()
        constant = self.scale.shape[-1] * _HALF_LOG_2PI + log_det
        return -0.5 * noise.square().sum(dim=-1) - constant


class SquashedGaussian(NamedTuple):
    """`a = tanh(mu(s) + sigma(s) e)` (Haarnoja et al. 2018b, App. C); actions in (-1, 1).

    net: MLP from n inputs to 2 m outputs, mean and log standard deviation.
    """

    net: MLP

    @property
    def stack(self) -> tuple[int, ...]:
        """The net's leading axes."""
        return self.net.stack

    @property
    def parameters(self) -> Gradient:
        """The net's weights, then its biases."""
        return self.net.parameters

    def replace(self, parameters: Gradient) -> SquashedGaussian:
        """The same architecture with other parameters."""
        return SquashedGaussian(self.net.replace(parameters))

    def mean_action(self, state: Tensor) -> Tensor:
        """`tanh(mu(s))`, [*stack, ..., m]."""
        return torch.tanh(self._moments(state)[0])

    def sample(self, state: Tensor, noise: Tensor) -> Action:
        """`tanh(mu + sigma noise)` and its log-density."""
        mean, log_std = self._moments(state)
        raw = mean + log_std.exp() * noise
        return Action(torch.tanh(raw), raw, _squashed_log_density(noise, log_std, raw))

    def log_prob(self, state: Tensor, raw: Tensor) -> Tensor:
        """Log-density of `tanh(raw)`, [...]."""
        mean, log_std = self._moments(state)
        return _squashed_log_density((raw - mean) * (-log_std).exp(), log_std, raw)

    def _moments(self, state: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.net(state).chunk(2, dim=-1)
        return mean, log_std.clamp(*LOG_STD_RANGE)


def _squashed_log_density(noise: Tensor, log_std: Tensor, raw: Tensor) -> Tensor:
    """`log N(raw) - sum log(1 - tanh(raw)^2)`, the second term without cancellation."""
    gaussian = -0.5 * noise.square() - log_std - _HALF_LOG_2PI
    log_slope = 2.0 * (math.log(2.0) - raw - F.softplus(-2.0 * raw))
    return (gaussian - log_slope).sum(dim=-1)
