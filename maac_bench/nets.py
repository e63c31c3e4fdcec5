"""Stacked multilayer perceptrons: a net is a list of weight tensors `[*stack, in, out]`.

The stack axes are (seed,) or (seed, member); one batched matrix product per layer serves them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from maac_bench.precisions import PRECISIONS
from maac_bench.streams import Streams

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "swish": F.silu,
    "tanh": torch.tanh,
}


class Layers(Protocol):
    """Hidden layers, as every net's settings have them."""

    @property
    def hidden(self) -> tuple[int, ...]:
        """Their widths."""

    @property
    def activation(self) -> str:
        """Name in `ACTIVATIONS`."""

    @property
    def layer_norm(self) -> bool:
        """Normalise each before its activation, without learned scale."""

    @property
    def precision(self) -> str:
        """Of the products between them, a name in `PRECISIONS`."""


class Hidden(NamedTuple):
    """`Layers` by themselves."""

    hidden: tuple[int, ...]
    activation: str = "swish"
    layer_norm: bool = False
    precision: str = "full"


class MLP(NamedTuple):
    """A stack of equal multilayer perceptrons.

    weights: one [*stack, in, out] per layer. biases: one [*stack, out] per layer.
    layer_norm: normalise each hidden layer before its activation, without learned scale.
    precision: of the products between hidden layers, see `PRECISIONS`; the first and the last are
        full.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    activation: str
    layer_norm: bool
    precision: str = "full"

    @property
    def stack(self) -> tuple[int, ...]:
        """The leading axes that all weights share."""
        return tuple(self.weights[0].shape[:-2])

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Weights, then biases."""
        return (*self.weights, *self.biases)

    def replace(self, parameters: Sequence[Tensor]) -> MLP:
        """The same architecture with other parameters, in the order of `parameters`."""
        layers = len(self.weights)
        return self._replace(weights=tuple(parameters[:layers]), biases=tuple(parameters[layers:]))

    def __call__(self, x: Tensor) -> Tensor:
        """Apply every net of the stack to its own batch.

        Args:
            x: [*stack, ..., in]; a stack axis of size 1 is shared.

        Returns:
            [*stack, ..., out].
        """
        stack, last = self.stack, len(self.weights) - 1
        batch = x.shape[len(stack) : -1]
        # Not `own in (1, other)`: torch.compile decides that wrongly where a size is symbolic.
        fits = all(own == 1 or own == other for own, other in zip(x.shape, stack, strict=False))
        if x.shape[-1] != self.weights[0].shape[-2] or x.dim() <= len(stack) or not fits:
            raise ValueError(
                f"input of shape {list(x.shape)} does not fit nets of stack {list(stack)} "
                f"with {self.weights[0].shape[-2]} inputs"
            )
        x = x.expand(*stack, *x.shape[len(stack) :])
        x = x.reshape(math.prod(stack), math.prod(batch), x.shape[-1])
        activation = ACTIVATIONS[self.activation]
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            # Not baddbmm, which writes the bias first: compiled, this sum joins the activation.
            product = PRECISIONS[self.precision] if 0 < layer < last else torch.bmm
            x = product(x, weight.reshape(len(x), *weight.shape[-2:]))
            x = x + bias.reshape(len(x), 1, -1)
            if layer < last:
                x = activation(F.layer_norm(x, x.shape[-1:]) if self.layer_norm else x)
        return x.reshape(*stack, *batch, x.shape[-1])


def init_mlp(
    streams: Streams, members: int | None, inputs: int, outputs: int, layers: Layers
) -> MLP:
    """Freshly initialised nets, uniform in +-1/sqrt(fan_in) as `torch.nn.Linear` is.

    Args:
        streams: the seed axis, and where the numbers come from.
        members: size of the member axis behind it; None for no such axis.
        inputs: width of the input.
        outputs: width of the output.
        layers: what is in between.

    Raises:
        ValueError: widths that are not positive, or an unknown activation or precision.
    """
    require_layers(layers)
    member_axis = () if members is None else (members,)
    weights, biases = [], []
    for before, after in pairwise((inputs, *layers.hidden, outputs)):
        bound = 1.0 / math.sqrt(before)
        weights.append(bound * (2.0 * streams.uniform(*member_axis, before, after) - 1.0))
        biases.append(bound * (2.0 * streams.uniform(*member_axis, after) - 1.0))
    return MLP(
        tuple(weights), tuple(biases), layers.activation, layers.layer_norm, layers.precision
    )


def require_layers(layers: Layers) -> None:
    """ValueError for widths that are not positive, or an unknown activation or precision."""
    if not layers.hidden or min(layers.hidden) < 1:
        raise ValueError(f"hidden must be positive layer widths, got {layers.hidden}")
    for kind, name, known in (
        ("activation", layers.activation, ACTIVATIONS),
        ("precision", layers.precision, PRECISIONS),
    ):
        if name not in known:
            raise ValueError(f"{kind} {name!r} is unknown; choose from {', '.join(known)}")


NO_SPREAD = 1e-8
"""Standard deviation up to which a feature does not vary."""


class Normalizer(NamedTuple):
    """Affine map to zero mean and unit standard deviation. mean, std: [*stack, features]."""

    mean: Tensor
    std: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Standardise x, [*stack, ..., features]."""
        return (x - _between(self.mean, x)) / _between(self.std, x)

    def inverse(self, x: Tensor) -> Tensor:
        """Undo `__call__`."""
        return x * _between(self.std, x) + _between(self.mean, x)

    def at(self, index: Tensor) -> Normalizer:
        """Those of the first stack axis at `index`."""
        return Normalizer(self.mean[index], self.std[index])


def fit_normalizer(x: Tensor, constant: float = 1.0) -> Normalizer:
    """Mean and standard deviation over the second-last axis, [..., N, features] -> [..., features].

    Args:
        x: samples, [..., N, features].
        constant: standard deviation of features that do not vary; what they are is their mean.
    """
    mean, std = x.mean(dim=-2), x.std(dim=-2, correction=0)
    varies = ~(x.amax(dim=-2) == x.amin(dim=-2)) & ~(std <= NO_SPREAD)  # what is NaN does
    # Not the mean of many equal numbers, which rounding moves.
    return Normalizer(torch.where(varies, mean, x[..., 0, :]), torch.where(varies, std, constant))


def _between(parameter: Tensor, x: Tensor) -> Tensor:
    """Put batch axes between the stack and the features: [*stack, f] -> [*stack, 1 ..., f]."""
    stack = parameter.shape[:-1]
    return parameter.reshape(*stack, *([1] * (x.dim() - parameter.dim())), parameter.shape[-1])
