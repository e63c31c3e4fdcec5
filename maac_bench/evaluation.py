"""Whole episodes with a fixed policy on separate environments."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from maac_bench.episodes import Episodes
from maac_bench.streams import Streams
from maac_bench.types import Policy


class Record(NamedTuple):
    """One episode per seed, time first, padded after a seed's own end.

    states: [T + 1, seeds, n]. actions: [T, seeds, m]. log_probs, rewards: [T, seeds].
    alive: [T, seeds], 1.0 for steps that were taken. terminated: [seeds], 1.0 where the episode
    ended by itself rather than at its time limit.
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


def run_episode(policy: Policy, episodes: Episodes, noise: Streams | None = None) -> Record:
    """One new episode of every seed.

    Args:
        policy: stack (seeds,), actions in the environments' units.
        episodes: their environments.
        noise: where the actions' noise comes from; None for the mean action.
    """
    episodes.rewind()
    state = episodes.begin()
    seeds = len(state)
    alive = np.ones(seeds, np.float32)
    terminated = np.zeros(seeds, np.float32)
    states, actions, log_probs, rewards, lives = [torch.from_numpy(state)], [], [], [], []
    while alive.any():
        observation = torch.from_numpy(state).unsqueeze(1)
        with torch.no_grad():
            if noise is None:
                action = policy.mean_action(observation)
                log_prob = torch.zeros(seeds, 1)
            else:
                size = policy.mean_action(observation).shape[-1]
                action, _, log_prob = policy.sample(observation, noise.normal(1, size))
        step = episodes.step(action[:, 0].numpy(), alive > 0)
        actions.append(action[:, 0])
        log_probs.append(log_prob[:, 0])
        rewards.append(torch.from_numpy(step.reward))
        states.append(torch.from_numpy(step.next_state))
        lives.append(torch.from_numpy(alive.copy()))
        terminated = np.maximum(terminated, step.terminated.astype(np.float32))
        alive = alive * ~(step.terminated | step.truncated)
        state = step.next_state
    return Record(
        torch.stack(states),
        torch.stack(actions),
        torch.stack(log_probs),
        torch.stack(rewards),
        torch.stack(lives),
        torch.from_numpy(terminated),
    )
