"""Data types that modules share. Last axis is features; every axis before it is batch.

Index conventions, used everywhere: `H` counts model transitions. Rewards have t = 0 ... H-1, the
terminal critic sees (s_H, a_H). `discount_t` is `gamma^t`, and 0 after termination.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

Gradient: TypeAlias = tuple[Tensor, ...]
"""One tensor per policy parameter, each of that parameter's shape."""

RewardFunction: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`reward(s [..., n], a [..., m], s' [..., n]) -> [...]`."""

TerminationFunction: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`terminated(s [..., n], a [..., m], s' [..., n]) -> [...]`, 1.0 where the episode ends."""


class Transition(NamedTuple):
    """Real or imagined steps.

    state [..., n], action [..., m], reward [...], next_state [..., n], terminated [...] (1.0 where
    the episode ended there; a time limit is not an end).
    """

    state: Tensor
    action: Tensor
    reward: Tensor
    next_state: Tensor
    terminated: Tensor


class Interval(NamedTuple):
    """Least and largest value, [...] each."""

    low: Tensor
    high: Tensor


class ModelNoise(NamedTuple):
    """Pre-drawn randomness of one dynamics step.

    normal: standard normal, [..., n]. slots: for dynamics with members, which of P slots each of
    the B flattened samples takes, [stack, B]; P is B padded to a multiple of the member count.
    samples: the inverse, which sample fills each slot, [stack, P].
    """

    normal: Tensor
    slots: Tensor | None = None
    samples: Tensor | None = None


class RolloutNoise(NamedTuple):
    """Pre-drawn randomness of an H-step rollout, all standard normal.

    action: one [..., m] per transition, H of them. model: one ModelNoise per transition.
    terminal: the K terminal actions at s_H, [..., K, m].
    """

    action: tuple[Tensor, ...]
    model: tuple[ModelNoise, ...]
    terminal: Tensor


class Action(NamedTuple):
    """A sampled action. value [..., m]; raw [..., m], before squashing; log_prob [...]."""

    value: Tensor
    raw: Tensor
    log_prob: Tensor


class Trajectory(NamedTuple):
    """An H-step rollout, time first.

    states: H+1 of [..., n], s_t; the start state again after an end. actions: H. rewards: H of
    [...]. discounts: H+1 of [...], `gamma^t` and 0 once terminated. reached: H of [..., n], where
    each transition led. ended: H of [...], 1.0 where it ended the episode.
    """

    states: tuple[Tensor, ...]
    actions: tuple[Action, ...]
    rewards: tuple[Tensor, ...]
    discounts: tuple[Tensor, ...]
    reached: tuple[Tensor, ...]
    ended: tuple[Tensor, ...]

    @property
    def alive(self) -> tuple[Tensor, ...]:
        """Whether no earlier transition has ended the episode, H of [...]."""
        found = [torch.ones_like(one, dtype=torch.bool) for one in self.ended[:1]]
        for one in self.ended[:-1]:
            found.append(found[-1] & (one < 1.0))
        return tuple(found)


class Policy(Protocol):
    """A stochastic policy whose parameters carry the stack axes (seed, ...) in front."""

    @property
    def stack(self) -> tuple[int, ...]:
        """The leading axes all parameters share."""

    @property
    def parameters(self) -> Gradient:
        """The tensors that are learned, each [*stack, ...]."""

    def replace(self, parameters: Gradient) -> Policy:
        """The same policy with other parameters."""

    def mean_action(self, state: Tensor) -> Tensor:
        """The action without noise, [..., m]."""

    def sample(self, state: Tensor, noise: Tensor) -> Action:
        """The reparameterised action for standard normal noise [..., m].

        The leading axes of state and noise are broadcast: K noises for one state are K actions.
        """

    def log_prob(self, state: Tensor, raw: Tensor) -> Tensor:
        """Log-density of the action whose unsquashed value is `raw`, [...]."""


class Dynamics(Protocol):
    """Differentiable transition dynamics."""

    @property
    def members(self) -> int:
        """How many ensemble members share a batch; 0 for a single model."""

    def step(self, state: Tensor, action: Tensor, noise: ModelNoise) -> Tensor:
        """The next state, [..., n]."""


class Critic(Protocol):
    """One or more Q-functions."""

    def __call__(self, state: Tensor, action: Tensor) -> Tensor:
        """Values of every Q-function, [critics, ...]."""


class Problem(NamedTuple):
    """What an estimator differentiates through: dynamics, task functions, critic and discount."""

    dynamics: Dynamics
    reward: RewardFunction
    terminated: TerminationFunction
    critic: Critic
    discount: float
