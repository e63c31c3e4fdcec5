"""The score-function surrogate: every action's log-density, weighed by what followed it.

With a critic at the end its expectation is that of the pathwise H-step objective, where the
dynamics are smooth and no state ends the episode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from maac_bench.rollout import Terminal
from maac_bench.types import Policy, Problem, Trajectory


class Scored(NamedTuple):
    """Actions of one time and the weight of their scores.

    state [..., n] and raw [..., m] (before squashing) for weight [...]; or state [..., K, n] and
    raw [..., K, m], where K actions were drawn and their scores share a weight.
    """

    state: Tensor
    raw: Tensor
    weight: Tensor


def score_actions(
    trajectory: Trajectory,
    terminal: Terminal | None,
    bonus: Callable[[int, Tensor], Tensor | float],
    advantage: Callable[[int, Tensor], Tensor],
) -> list[Scored]:
    """Every action with the weight of its score, first action first.

    Args:
        trajectory: an H-step rollout.
        terminal: bootstraps the return; None: it is cut after H rewards.
        bonus: of time t and log-densities [...], added to the reward.
        advantage: of time t and the return from t on, [...]: that return less a baseline, which
            does not depend on the action.
    """
    drawn = [
        (state, action.raw)
        for state, action in zip(trajectory.states[:-1], trajectory.actions, strict=True)
    ]
    bonuses = [bonus(t, action.log_prob) for t, action in enumerate(trajectory.actions)]
    closing = torch.zeros_like(trajectory.discounts[-1])
    if terminal is not None:
        drawn.append((terminal.state, terminal.action.raw))
        closing = terminal.value + bonus(len(bonuses), terminal.action.log_prob.mean(dim=-1))
    to_go = returns_to_go(trajectory, bonuses, closing)
    return [Scored(state, raw, advantage(t, to_go[t])) for t, (state, raw) in enumerate(drawn)]


def value_baseline(problem: Problem, policy: Policy, state: Tensor) -> Tensor:
    """`min_j Q_j(s, mean action)`, [...]: near the mean of a bootstrapped return."""
    return problem.critic(state, policy.mean_action(state)).amin(dim=0)


def returns_to_go(
    trajectory: Trajectory, bonuses: Sequence[Tensor | float], closing: Tensor
) -> list[Tensor]:
    """`sum_{t<=k<H} discount_k (r_k + bonus_k) + discount_H closing` for t = 0 ... H, [...] each.

    Args:
        trajectory: an H-step rollout.
        bonuses: added to the rewards, H of them.
        closing: value at the end, [...].
    """
    to_go = [trajectory.discounts[-1] * closing]
    for t in reversed(range(len(trajectory.rewards))):
        to_go.append(to_go[-1] + trajectory.discounts[t] * (trajectory.rewards[t] + bonuses[t]))
    return to_go[::-1]


def surrogate(policy: Policy, scored: Sequence[Scored]) -> Tensor:
    """`sum_t weight_t log pi(a_t | s_t)`, [...]: its gradient estimates the return's.

    Unbiased if each weight is the return from t on, up to terms that do not depend on a_t
    (Williams 1992; Sutton et al. 1999).
    """
    terms = []
    for state, raw, weight in scored:
        log_prob = policy.log_prob(state, raw)
        together = log_prob.sum(dim=-1) if log_prob.dim() > weight.dim() else log_prob
        terms.append(together * weight)
    return torch.stack(terms).sum(dim=0)
