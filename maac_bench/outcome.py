"""Reward and termination learned from data, for tasks that bring no functions of their own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maac_bench.dynamics import Ensemble
from maac_bench.model_fitting import Pairs
from maac_bench.types import Transition


def outcome_pairs(data: Transition) -> Pairs:
    """What a step paid and whether it ended the episode, from (s, a, s')."""
    inputs = torch.cat([data.state, data.action, data.next_state], dim=-1)
    return Pairs(inputs, torch.stack([data.reward, data.terminated], dim=-1))


class LearnedOutcome(NamedTuple):
    """Mean prediction of an ensemble for reward and termination.

    ensemble: from (s, a, s') to (reward, terminated), stack (seed, member).
    """

    ensemble: Ensemble

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Expected reward, [...]; differentiable."""
        return self._predict(state, action, next_state)[..., 0]

    def terminated(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """1.0 where an end is more likely than not, [...]; piecewise constant."""
        return (self._predict(state, action, next_state)[..., 1] > 0.5).to(state.dtype)

    def copy_(self, fitted: Ensemble) -> None:
        """Take over another fit in place, so that a compiled update keeps its inputs."""
        with torch.no_grad():
            for mine, new in zip(_tensors(self.ensemble), _tensors(fitted), strict=True):
                mine.copy_(new)

    def _predict(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        batch = torch.broadcast_shapes(state.shape[:-1], action.shape[:-1], next_state.shape[:-1])
        joined = [x.expand(*batch, x.shape[-1]) for x in (state, action, next_state)]
        mean, _ = self.ensemble.moments(torch.cat(joined, dim=-1).unsqueeze(1))
        return self.ensemble.targets.inverse(mean.mean(dim=1))


def _tensors(ensemble: Ensemble) -> tuple[Tensor, ...]:
    return (*ensemble.parameters, *ensemble.inputs, *ensemble.targets)
