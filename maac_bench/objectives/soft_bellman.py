"""Soft Bellman target (Haarnoja et al. 2018b, Eq. 3, with twin critics), and what bounds it."""

from __future__ import annotations

from torch import Tensor

from maac_bench.objectives.temperature import soft
from maac_bench.types import Interval


def soft_return_interval(rewards: Interval, entropies: Interval, discount: float) -> Interval:
    """What a soft return can be: sums of any length of `gamma^t (r_t + alpha * entropy_t)`.

    Args:
        rewards: that a step can have.
        entropies: alpha times the policy's entropy, likewise.
        discount: gamma < 1.
    """
    low, high = rewards.low + entropies.low, rewards.high + entropies.high
    # An episode can end, so nothing more to come is one of the values.
    return Interval(low.clamp(max=0.0) / (1.0 - discount), high.clamp(min=0.0) / (1.0 - discount))


def soft_bellman_target(
    reward: Tensor,
    discount: Tensor,
    next_values: Tensor,
    next_log_prob: Tensor,
    temperature: Tensor | float = 0.0,
) -> Tensor:
    """One-step target `r_t + discount_t (min_j Q_j(s_tp1, a_tp1) - alpha log pi(a_tp1 | s_tp1))`.

    Args:
        reward: r_t, [...].
        discount: gamma, or 0 where the episode terminated, [...].
        next_values: the target critics at (s_tp1, a_tp1), a_tp1 drawn from the policy,
            [critics, ...].
        next_log_prob: log-density of a_tp1, [...].
        temperature: alpha, broadcast against [...]; 0 is plain policy evaluation.

    Returns:
        [...].
    """
    return reward + discount * soft(next_values.amin(dim=0), temperature, next_log_prob)
