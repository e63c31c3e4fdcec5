"""What is measured in the place of a run's own policies and model."""

from __future__ import annotations

import torch
from torch import Tensor

from maac_bench.dynamics import Ensemble
from maac_bench.streams import Streams
from maac_bench.types import Gradient


def displaced(parameters: Gradient, share: float, streams: Streams) -> Gradient:
    """Parameters a random step away: each tensor by that share of its own length, [seeds, ...]."""

    def length(one: Tensor) -> Tensor:
        return one.square().sum(dim=tuple(range(1, one.dim())), keepdim=True).sqrt()

    steps = [streams.normal(*one.shape[1:]) for one in parameters]
    return tuple(
        one + share * length(one) / length(step) * step
        for one, step in zip(parameters, steps, strict=True)
    )


def shuffled(model: Ensemble, streams: Streams) -> Ensemble:
    """The same numbers in every weight and bias tensor in random order, each seed's by itself.

    It keeps normalisers, noise and the size of its outputs: what is lost is what it learned.
    """

    def mixed(one: Tensor) -> Tensor:
        flat = one.flatten(1)
        return flat.gather(1, streams.permutations(flat.shape[1])).reshape(one.shape)

    return model.replace([mixed(one) for one in model.parameters])


def flattened(parameters: Gradient) -> Tensor:
    """One row of numbers per policy of the stack, [seeds, P]."""
    return torch.cat([one.detach().flatten(1) for one in parameters], dim=1)
