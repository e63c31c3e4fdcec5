"""What critics are fitted to: the rollouts behind their targets.

Nothing here stops a gradient; the agent calls it without any.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maac_bench.critics import NeuralCritics
from maac_bench.objectives.soft_bellman import Interval
from maac_bench.objectives.value_expansion import (
    candidate_variances,
    expansion_candidates,
    path_targets,
    steve_weights,
)
from maac_bench.policies import SquashedGaussian
from maac_bench.rollout import rollout
from maac_bench.types import Problem, RolloutNoise, Transition


class Bootstrap(NamedTuple):
    """Whose value closes a target.

    policy: acts. critics: the target networks. temperature: alpha, [seeds]. interval: that the
    networks' values are clipped to, [seeds] each.
    """

    policy: SquashedGaussian
    critics: NeuralCritics
    temperature: Tensor
    interval: Interval | None = None

    def values(self, state: Tensor, action: Tensor) -> Tensor:
        """Every target network, [critics, seeds, ...]."""
        values = self.critics(state, action)
        if self.interval is None:
            return values
        low, high = (x.reshape(-1, *[1] * (values.dim() - 2)) for x in self.interval)
        return values.clamp(low, high)


class Target(NamedTuple):
    """A critic target [seeds, B] and the weight of each expansion step, [H + 1, seeds]."""

    value: Tensor
    weights: Tensor


class Regression(NamedTuple):
    """What the critics are fitted to: state [seeds, B, n], action [seeds, B, m] and their target.

    alive: 0 in rows after a termination, which do not count, [seeds, B].
    """

    state: Tensor
    action: Tensor
    target: Target
    alive: Tensor | float = 1.0


def expansion_regression(
    bootstrap: Bootstrap, problem: Problem, batch: Transition, noise: RolloutNoise, steve: bool
) -> Regression:
    """Real and imagined transitions with soft targets that follow the model from their ends.

    Args:
        bootstrap: closes the targets.
        problem: dynamics that step every member, [seeds, members, B, ...].
        batch: transitions [seeds, B, ...].
        noise: of H model steps, [seeds, 1, B, ...]; none of them gives the TD target.
        steve: weigh all horizons by the spread of their candidates; otherwise the last one counts.
    """
    alpha = bootstrap.temperature.reshape(-1, 1, 1)
    imagined = rollout(problem, bootstrap.policy, batch.next_state.unsqueeze(1), noise)
    last = bootstrap.policy.sample(imagined.states[-1], noise.terminal[..., 0, :])
    values = [
        bootstrap.values(state, action.value) - alpha * action.log_prob
        for state, action in zip(imagined.states, (*imagined.actions, last), strict=True)
    ]
    continuing = problem.discount * (1.0 - batch.terminated)
    candidates = expansion_candidates(
        batch.reward.unsqueeze(1), continuing.unsqueeze(1), imagined, values, alpha
    )
    # The minimum of the critics, as in TD; the mean over members.
    each = candidates.amin(dim=1).mean(dim=2)
    if steve:
        weights = steve_weights(candidate_variances(candidates))
    else:
        weights = torch.zeros_like(each)
        weights[-1] = 1.0
    target = Target((weights * each).sum(dim=0), weights.mean(dim=-1))
    return Regression(batch.state, batch.action, target)


def path_regression(
    bootstrap: Bootstrap, problem: Problem, start: Tensor, noise: RolloutNoise
) -> Regression:
    """Every step of the policy's rollouts with the soft return from there on (Kubo et al. 2025).

    Args:
        bootstrap: closes the rollouts.
        problem: their dynamics.
        start: their first states, [seeds, B, n].
        noise: of the actor's rollouts from there, H model steps and K terminal actions.

    Returns:
        H * B rows.
    """
    alpha = bootstrap.temperature.unsqueeze(-1)
    path = rollout(problem, bootstrap.policy, start, noise)
    last = path.states[-1].unsqueeze(-2)
    action = bootstrap.policy.sample(last, noise.terminal)
    last = last.expand(*noise.terminal.shape[:-1], last.shape[-1])
    closing = bootstrap.values(last, action.value).amin(dim=0).mean(dim=-1)
    closing = closing - alpha * action.log_prob.mean(dim=-1)
    targets = path_targets(path, closing, alpha)
    return Regression(
        torch.cat(path.states[:-1], dim=-2),
        torch.cat([step.value for step in path.actions], dim=-2),
        Target(torch.cat(targets, dim=-1), alpha.new_zeros(0, len(alpha))),
        (torch.cat(path.discounts[:-1], dim=-1) > 0).to(start.dtype),
    )
