"""What critics are fitted to: the rollouts behind their targets.

Nothing here stops a gradient; the agent calls it without any.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maac_bench.objectives.value_expansion import (
    candidate_variances,
    expansion_candidates,
    path_targets,
    steve_weights,
)
from maac_bench.rollout import draw_terminal, rollout
from maac_bench.types import Interval, Policy, Problem, RolloutNoise, Transition


class Target(NamedTuple):
    """A critic target [seeds, B] and the weight of each expansion step, [H + 1, seeds]."""

    value: Tensor
    weights: Tensor


class Regression(NamedTuple):
    """What the critics are fitted to: state [seeds, B, n], action [seeds, B, m] and their target.

    alive: False in rows after a termination, which do not count, [seeds, B]; None: all count.
    """

    state: Tensor
    action: Tensor
    target: Target
    alive: Tensor | None = None

    def mean(self, each: Tensor) -> Tensor:
        """Mean over the rows that count of each [..., seeds, B] -> [..., seeds]."""
        if self.alive is None:
            return each.mean(dim=-1)
        return torch.where(self.alive, each, 0.0).sum(dim=-1) / self.alive.sum(dim=-1)


def expansion_regression(
    problem: Problem,
    policy: Policy,
    temperature: Tensor,
    batch: Transition,
    noise: RolloutNoise,
    steve: bool,
    interval: Interval | None = None,
) -> Regression:
    """Transitions with soft targets that follow the model from their ends.

    Args:
        problem: dynamics that step every member, [seeds, members, B, ...]; the target networks.
        policy: acts.
        temperature: alpha, [seeds].
        batch: transitions [seeds, B, ...].
        noise: of H model steps, [seeds, 1, B, ...]; none of them gives the TD target.
        steve: weigh all horizons by the spread of their candidates; otherwise the last one counts.
        interval: what the target networks' values are clipped to, [seeds] each.
    """
    alpha = temperature.reshape(-1, 1, 1)
    # Nothing counts that follows a real end; it must be finite for that, see `unroll`.
    ended = batch.terminated.unsqueeze(-1) >= 1.0
    start = torch.where(ended, batch.state, batch.next_state)
    imagined = rollout(problem, policy, start.unsqueeze(1), noise)
    last = policy.sample(imagined.states[-1], noise.terminal[..., 0, :])
    actions = (*imagined.actions, last)
    values = [
        problem.critic(state, action.value)
        for state, action in zip(imagined.states, actions, strict=True)
    ]
    continuing = problem.discount * (1.0 - batch.terminated)

    def candidates(values: list[Tensor]) -> Tensor:
        soft = [v - alpha * action.log_prob for v, action in zip(values, actions, strict=True)]
        reward = batch.reward.unsqueeze(1)
        return expansion_candidates(reward, continuing.unsqueeze(1), imagined, soft, alpha)

    # The minimum of the critics, as in TD; the mean over members.
    found = candidates([_clipped(value, interval, 2) for value in values])
    each = found.amin(dim=1).mean(dim=2)
    if steve:
        # Networks that are clipped to the same bound would seem to agree.
        spread = found if interval is None else candidates(values)
        weights = steve_weights(candidate_variances(spread))
    else:
        weights = torch.zeros_like(each)
        weights[-1] = 1.0
    target = Target((weights * each).sum(dim=0), weights.mean(dim=-1))
    return Regression(batch.state, batch.action, target)


def path_regression(
    problem: Problem,
    policy: Policy,
    temperature: Tensor,
    start: Tensor,
    noise: RolloutNoise,
    interval: Interval | None = None,
) -> Regression:
    """The steps of the policy's rollouts with the soft return from each on (Kubo et al. 2025).

    Args:
        problem: dynamics of the rollouts; the target networks close them.
        policy: acts.
        temperature: alpha, [seeds].
        start: first states, [seeds, B, n].
        noise: of the actor's rollouts from there, H model steps and K terminal actions.
        interval: what the target networks' values are clipped to, [seeds] each.

    Returns:
        H * B rows, those of one time together.
    """
    alpha = temperature.unsqueeze(-1)
    path = rollout(problem, policy, start, noise)
    last = draw_terminal(problem, policy, path.states[-1], noise.terminal)
    closing = _clipped(last.value, interval, 1) - alpha * last.action.log_prob.mean(dim=-1)
    targets = path_targets(path, closing, problem.discount, alpha)
    return Regression(
        torch.cat(path.states[:-1], dim=-2),
        torch.cat([step.value for step in path.actions], dim=-2),
        Target(torch.cat(targets, dim=-1), alpha.new_zeros(0, len(alpha))),
        torch.cat(path.alive, dim=-1),
    )


def _clipped(values: Tensor, interval: Interval | None, axes: int) -> Tensor:
    """Values within the interval of their seed; `axes` of them are behind the seeds'."""
    if interval is None:
        return values
    low, high = (x.reshape(-1, *[1] * axes) for x in interval)
    return values.clamp(low, high)
