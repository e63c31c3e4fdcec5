"""Whole episodes with a fixed policy on separate environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from maac_bench.episodes import Episodes
from maac_bench.streams import Streams
from maac_bench.types import Action


class Record(NamedTuple):
    """One episode per seed, time first, padded after a seed's own end.

    states: [T + 1, seeds, n]. actions: [T, seeds, m]. log_probs, rewards: [T, seeds].
    alive: [T, seeds], 1.0 for steps that were taken. terminated: [seeds], 1.0 where the episode
    ended by itself rather than at its time limit. An action that is not finite ends its seed's
    episode with NaN as its reward, and no environment sees it.
    """

    states: Tensor
    actions: Tensor
    log_probs: Tensor
    rewards: Tensor
    alive: Tensor
    terminated: Tensor

    @property
    def returns(self) -> Tensor:
        """Undiscounted return, [seeds]."""
        return (self.rewards * self.alive).sum(dim=0)


Decide: TypeAlias = Callable[[Tensor], Tensor]
"""A policy's mean action, or a planner's: [seeds, 1, m] for states [seeds, 1, n]."""

_CPU = torch.device("cpu")


def run_episode(decide: Decide, episodes: Episodes, device: torch.device = _CPU) -> Record:
    """One new episode of every seed without noise; log-densities are 0.

    Args:
        decide: in the environments' units.
        episodes: their environments.
        device: where it decides.
    """

    def act(state: Tensor) -> tuple[Tensor, Tensor]:
        action = decide(state)
        return action, torch.zeros_like(action[..., 0])

    return _run(act, episodes, device)


def run_sampled_episode(
    sample: Callable[[Tensor, Tensor], Action], episodes: Episodes, noise: Streams
) -> Record:
    """One new episode of every seed with sampled actions.

    Args:
        sample: a policy's, of states [seeds, 1, n] and noise [seeds, 1, m].
        episodes: their environments.
        noise: where the noise comes from.
    """

    def act(state: Tensor) -> tuple[Tensor, Tensor]:
        action, _, log_prob = sample(state, noise.normal(1, episodes.action_size))
        return action, log_prob

    return _run(act, episodes, noise.device)


def _run(
    act: Callable[[Tensor], tuple[Tensor, Tensor]], episodes: Episodes, device: torch.device
) -> Record:
    episodes.rewind()
    state = episodes.begin()
    seeds = len(state)
    alive = np.ones(seeds, np.bool_)
    terminated = np.zeros(seeds, np.bool_)
    states = [torch.from_numpy(state)]
    actions, log_probs, rewards, lives = [], [], [], []
    while alive.any():
        observation = torch.from_numpy(state).to(device).unsqueeze(1)
        with torch.no_grad():
            action, log_prob = act(observation)
        chosen = action[:, 0].cpu().numpy()
        lost = alive & ~np.isfinite(chosen).all(axis=-1)
        step = episodes.step(chosen, alive & ~lost)
        actions.append(action[:, 0])
        log_probs.append(log_prob[:, 0])
        rewards.append(torch.from_numpy(np.where(lost, np.float32(np.nan), step.reward)))
        states.append(torch.from_numpy(step.next_state))
        lives.append(torch.from_numpy(alive.astype(np.float32)))
        terminated |= step.terminated
        alive = alive & ~(lost | step.terminated | step.truncated)
        # One that has ended stays where it last acted: what follows an end is no state to act in.
        state = np.where(alive[:, None], step.next_state, state)
    return Record(
        torch.stack(states).to(device),
        torch.stack(actions),
        torch.stack(log_probs),
        torch.stack(rewards).to(device),
        torch.stack(lives).to(device),
        torch.from_numpy(terminated.astype(np.float32)).to(device),
    )
