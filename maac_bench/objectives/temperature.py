"""Temperature of the maximum-entropy objective (Haarnoja et al. 2018b, Eq. 18)."""

from __future__ import annotations

from torch import Tensor


def soft(reward: Tensor, temperature: Tensor | float, log_prob: Tensor) -> Tensor:
    """`r - alpha log pi`, of a reward or a value.

    Without a temperature the reward itself: a deterministic policy's log-density is infinite.

    Args:
        reward: [...].
        temperature: alpha, broadcast against [...].
        log_prob: log-density of the action, [...].
    """
    if is_zero(temperature):
        return reward
    return reward - temperature * log_prob


def is_zero(temperature: Tensor | float) -> bool:
    """Whether there is no entropy bonus at all; what is learned, a tensor, is never asked."""
    return not isinstance(temperature, Tensor) and temperature == 0


def temperature_loss(log_temperature: Tensor, log_prob: Tensor, target_entropy: float) -> Tensor:
    """`alpha (-log pi(a|s) - target entropy)`: lowers alpha where the entropy is above its target.

    Args:
        log_temperature: log alpha, [seeds]; what is learned.
        log_prob: log-density of sampled actions, [seeds, ...]; held fixed by the caller.
        target_entropy: in nats.

    Returns:
        [seeds, ...].
    """
    alpha = log_temperature.exp().reshape(-1, *([1] * (log_prob.dim() - 1)))
    return -alpha * (log_prob + target_entropy)
