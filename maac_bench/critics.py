"""Q-functions: stacked neural twins, and the exact quadratic one for LQG problems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from maac_bench.nets import MLP, Normalizer, init_mlp
from maac_bench.streams import Streams


class NeuralCritics(NamedTuple):
    """An ensemble of Q-networks (two are the usual twins; Fujimoto et al. 2018).

    net: MLP with stack (seed, critic). inputs: normaliser of [s, a], [seed, n + m].
    scale: the nets' unit of value, [seed].
    """

    net: MLP
    inputs: Normalizer
    scale: Tensor

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The nets' weights, then biases."""
        return self.net.parameters

    def replace(self, parameters: Sequence[Tensor]) -> NeuralCritics:
        """The same critics with other net parameters."""
        return self._replace(net=self.net.replace(parameters))

    def __call__(self, state: Tensor, action: Tensor) -> Tensor:
        """Values [critics, seed, ...] of state [seed, ..., n] and action [seed, ..., m]."""
        x = self.inputs(torch.cat([state, action], dim=-1))
        value = self.net(x.unsqueeze(1)).squeeze(-1).movedim(1, 0)
        return value * self.scale.reshape(-1, *([1] * (value.dim() - 2)))


def init_critics(
    streams: Streams,
    inputs: Normalizer,
    scale: Tensor,
    *,
    hidden: Sequence[int],
    count: int = 2,
    activation: str = "relu",
    layer_norm: bool = False,
) -> NeuralCritics:
    """Fresh critics on standardised inputs; `scale` is the unit of their output, [seed]."""
    sizes = (inputs.mean.shape[-1], *hidden, 1)
    return NeuralCritics(init_mlp(streams, count, sizes, activation, layer_norm), inputs, scale)


class QuadraticCritic(NamedTuple):
    """`Q(s, a) = -[s; a]' G [s; a] - d`. G: [*stack, n + m, n + m]; d: [*stack]."""

    G: Tensor
    d: Tensor

    def __call__(self, state: Tensor, action: Tensor) -> Tensor:
        """Values [1, *stack, ...]."""
        x, stack = torch.cat([state, action], dim=-1), self.d.shape
        flat = x.reshape(*stack, math.prod(x.shape[len(stack) : -1]), x.shape[-1])
        value = -((flat @ self.G) * flat).sum(dim=-1) - self.d.unsqueeze(-1)
        return value.reshape(1, *x.shape[:-1])


def polyak(target: Tensor, online: Tensor, rate: float) -> Tensor:
    """`(1 - rate) target + rate online`: the slowly moving target parameters."""
    return torch.lerp(target, online, rate)
