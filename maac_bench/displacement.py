"""Where a run's gradient is measured, and what in the place of its own policies and model."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from maac_bench.dynamics import Ensemble
from maac_bench.streams import Streams
from maac_bench.types import Gradient, Policy


def measuring_streams(seeds: Sequence[int], seed: int, purpose: str) -> Streams:
    """The streams of a measurement with that random seed, for a stack of seeds."""
    return Streams([(one, seed) for one in seeds], f"gradient-error-{purpose}")


def start_states(states: Tensor, seeds: Sequence[int], samples: int, seed: int) -> Tensor:
    """That many of each seed's states [seeds, N, n], with equal chances, [seeds, samples, n]."""
    index = measuring_streams(seeds, seed, "start").integers(states.shape[1], samples)
    return states.gather(1, index.unsqueeze(-1).expand(-1, -1, states.shape[-1]))


def displaced_policy(policy: Policy, seeds: Sequence[int], share: float, seed: int) -> Policy:
    """What a measurement displaces a run's policy to, stack (seeds,)."""
    streams = measuring_streams(seeds, seed, "displacement")
    return policy.replace(displaced(policy.parameters, share, streams))


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
