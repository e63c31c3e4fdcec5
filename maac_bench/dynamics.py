"""A bootstrap ensemble of Gaussian networks (Clavera et al. 2020, Sec. 4.3; Chua et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from maac_bench.nets import MLP, Layers, Normalizer, init_mlp
from maac_bench.streams import Streams
from maac_bench.types import ModelNoise

# In units of the standardised target. The floor is far below any useful model error.
LOG_VAR_RANGE = (-20.0, 4.0)


class Ensemble(NamedTuple):
    """Members predict a Gaussian over standardised targets: of dynamics the state change s' - s.

    net: MLP with stack (seed, member), n + m inputs and 2 n outputs (mean, log variance).
    inputs: normaliser of [s, a], [seed, n + m]. targets: normaliser of s' - s, [seed, n].
    noisy: sample the predicted Gaussian; otherwise take its mean.
    """

    net: MLP
    inputs: Normalizer
    targets: Normalizer
    noisy: bool = True

    @property
    def members(self) -> int:
        """Number of members, M."""
        return self.net.stack[-1]

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The nets' weights, then biases."""
        return self.net.parameters

    def replace(self, parameters: Sequence[Tensor]) -> Ensemble:
        """The same ensemble with other net parameters."""
        return self._replace(net=self.net.replace(parameters))

    def first(self, count: int) -> Ensemble:
        """The ensemble of the first `count` members."""
        return self.replace([parameter[:, :count] for parameter in self.parameters])

    def choose(self, index: Tensor) -> Ensemble:
        """The ensemble of each seed's members at `index`, [seed, k]."""
        seeds = torch.arange(len(index), device=index.device).unsqueeze(1)
        return self.replace([parameter[seeds, index] for parameter in self.parameters])

    def predict(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Each member's Gaussian over the standardised change, for its own batch.

        Args:
            state: [seed, M or 1, ..., n].
            action: [seed, M or 1, ..., m].

        Returns:
            Mean and log variance, [seed, M, ..., n] each.
        """
        return self.moments(torch.cat([state, action], dim=-1))

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`predict` for inputs already joined, [seed, M or 1, ..., i]."""
        mean, log_var = self.net(self.inputs(x)).chunk(2, dim=-1)
        low, high = LOG_VAR_RANGE
        # Smooth limits keep a gradient on both sides (Chua et al. 2018, App. A).
        log_var = high - F.softplus(high - log_var)
        return mean, low + F.softplus(log_var - low)

    def step(self, state: Tensor, action: Tensor, noise: ModelNoise) -> Tensor:
        """The next state, each sample through the member its slot belongs to, [seed, ..., n].

        Slot i belongs to member i // (P / M): a random permutation into slots gives every sample
        a uniformly drawn member, while all members work on equally long batches.
        """
        if noise.slots is None or noise.samples is None:
            raise ValueError("an ensemble needs slots in its noise: draw it for this ensemble")
        seeds, n = state.shape[0], state.shape[-1]
        x = torch.cat([state, action], dim=-1).flatten(1, -2)
        grouped = _take(x, noise.samples).reshape(seeds, self.members, -1, x.shape[-1])
        mean, log_var = self.predict(grouped[..., :n], grouped[..., n:])
        mean = _take(mean.flatten(1, 2), noise.slots).reshape(state.shape)
        if self.noisy:
            log_var = _take(log_var.flatten(1, 2), noise.slots).reshape(state.shape)
            mean = mean + (0.5 * log_var).exp() * noise.normal
        return state + self.targets.inverse(mean)


class EveryMember(NamedTuple):
    """The ensemble's members side by side: each steps its own copy of the batch.

    Noise is usually shared over the member axis, so that members differ by what they learned.
    """

    ensemble: Ensemble

    @property
    def members(self) -> int:
        """None share a batch: no slots are needed."""
        return 0

    def step(self, state: Tensor, action: Tensor, noise: ModelNoise) -> Tensor:
        """The next states, [seed, M, ..., n], from [seed, M or 1, ..., n]."""
        action = action.expand(*state.shape[:-1], action.shape[-1])
        mean, log_var = self.ensemble.predict(state, action)
        if self.ensemble.noisy:
            mean = mean + (0.5 * log_var).exp() * noise.normal
        return state + self.ensemble.targets.inverse(mean)


class NoDynamics(NamedTuple):
    """Stands where a model-free agent has no model."""

    @property
    def members(self) -> int:
        """None."""
        return 0

    def step(self, state: Tensor, action: Tensor, noise: ModelNoise) -> Tensor:
        """There is nothing to step: ValueError."""
        raise ValueError("this configuration uses no model, so it cannot be rolled out")


def init_ensemble(
    streams: Streams,
    inputs: Normalizer,
    targets: Normalizer,
    layers: Layers,
    *,
    members: int,
    noisy: bool = True,
) -> Ensemble:
    """A fresh ensemble on standardised inputs and targets."""
    width, outputs = inputs.mean.shape[-1], 2 * targets.mean.shape[-1]
    net = init_mlp(streams, members, width, outputs, layers)
    return Ensemble(net, inputs, targets, noisy)


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Rows of x [seed, N, f] at index [seed, P] -> [seed, P, f]."""
    return x.gather(1, index.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
