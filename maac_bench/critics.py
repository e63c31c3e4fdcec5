"""Q-functions: stacked neural twins, and the exact quadratic one for LQG problems."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from maac_bench.nets import MLP, Layers, Normalizer, init_mlp
from maac_bench.streams import Streams


class Transform(NamedTuple):
    """An increasing function of values, which networks put out instead of them, and its inverse.

    Both take what they map and the unit of value, where the function begins to bend.
    """

    encode: Callable[[Tensor, Tensor], Tensor]
    decode: Callable[[Tensor, Tensor], Tensor]


def _root(value: Tensor, unit: Tensor) -> Tensor:
    # The same as unit * sign(v) * (sqrt(1 + |v|) - 1) with v = value / unit, without cancellation.
    return value / (1.0 + (1.0 + value.abs() / unit).sqrt())


def _inverse_root(output: Tensor, unit: Tensor) -> Tensor:
    return output * (2.0 + output.abs() / unit)


TRANSFORMS = {
    "identity": Transform(lambda value, unit: value, lambda output, unit: output),
    # Pohlen et al. 2018, "Observe and look further", Sec. 3.2, with epsilon = 0.
    "sqrt": Transform(_root, _inverse_root),
}


class NeuralCritics(NamedTuple):
    """An ensemble of Q-networks (two are the usual twins; Fujimoto et al. 2018).

    net: MLP with stack (seed, critic). inputs: normaliser of [s, a], [seed, n + m].
    scale: the nets' unit of value, [seed]. transform: of the values, name in `TRANSFORMS`.
    """

    net: MLP
    inputs: Normalizer
    scale: Tensor
    transform: str

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The nets' weights, then biases."""
        return self.net.parameters

    def replace(self, parameters: Sequence[Tensor]) -> NeuralCritics:
        """The same critics with other net parameters."""
        return self._replace(net=self.net.replace(parameters))

    def __call__(self, state: Tensor, action: Tensor) -> Tensor:
        """Values [critics, seed, ...] of state [seed, ..., n] and action [seed, ..., m]."""
        return self.decode(self.outputs(state, action))

    def outputs(self, state: Tensor, action: Tensor) -> Tensor:
        """The nets' outputs times their scale: values under the transform, of the same shape."""
        x = self.inputs(torch.cat([state, action], dim=-1))
        output = self.net(x.unsqueeze(1)).squeeze(-1).movedim(1, 0)
        return output * self._unit(output.dim() - 1)

    def decode(self, outputs: Tensor) -> Tensor:
        """The values [critics, seed, ...] that these outputs stand for."""
        return TRANSFORMS[self.transform].decode(outputs, self._unit(outputs.dim() - 1))

    def encode(self, values: Tensor) -> Tensor:
        """The outputs that stand for these values, [seed, ...]."""
        return TRANSFORMS[self.transform].encode(values, self._unit(values.dim()))

    def _unit(self, axes: int) -> Tensor:
        """The scale of each seed, of `axes` axes with the seed's first."""
        return self.scale.reshape(-1, *[1] * (axes - 1))


def init_critics(
    streams: Streams,
    inputs: Normalizer,
    scale: Tensor,
    layers: Layers,
    *,
    count: int = 2,
    transform: str = "identity",
) -> NeuralCritics:
    """Fresh critics on standardised inputs; `scale` is the unit of their output, [seed]."""
    net = init_mlp(streams, count, inputs.mean.shape[-1], 1, layers)
    return NeuralCritics(net, inputs, scale, transform)


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
