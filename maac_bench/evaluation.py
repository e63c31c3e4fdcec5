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
    seeds, device = len(state), policy.parameters[0].device
    alive = np.ones(seeds, np.bool_)
    terminated = np.zeros(seeds, np.bool_)
    states = [torch.from_numpy(state)]
    actions, log_probs, rewards, lives = [], [], [], []
    while alive.any():
        observation = torch.from_numpy(state).to(device).unsqueeze(1)
        with torch.no_grad():
            action = policy.mean_action(observation)
            log_prob = torch.zeros(seeds, 1, device=device)
            if noise is not None:
                action, _, log_prob = policy.sample(observation, noise.normal(1, action.shape[-1]))
        step = episodes.step(action[:, 0].cpu().numpy(), alive)
        actions.append(action[:, 0])
        log_probs.append(log_prob[:, 0])
        rewards.append(torch.from_numpy(step.reward))
        states.append(torch.from_numpy(step.next_state))
        lives.append(torch.from_numpy(alive.astype(np.float32)))
        terminated |= step.terminated
        alive &= ~(step.terminated | step.truncated)
        state = step.next_state
    return Record(
        torch.stack(states).to(device),
        torch.stack(actions),
        torch.stack(log_probs),
        torch.stack(rewards).to(device),
        torch.stack(lives).to(device),
        torch.from_numpy(terminated.astype(np.float32)).to(device),
    )
