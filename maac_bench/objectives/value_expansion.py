"""Critic targets from a learned model: value expansion, STEVE, and along a rollout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maac_bench.objectives.temperature import soft
from maac_bench.types import Trajectory


def expansion_candidates(
    reward: Tensor,
    discount: Tensor,
    imagined: Trajectory,
    values: Sequence[Tensor],
    temperature: Tensor | float = 0.0,
) -> Tensor:
    """Soft targets that trust the model for h = 0 ... H steps (Feinberg et al. 2018).

    `T_h = r + discount [ sum_{t<h} D_t (r_t - alpha log pi_t) + D_h V(s_h) ]`, where the imagined
    trajectory starts at the real next state and D_t is its cumulative discount. T_0 is the soft
    Bellman target.

    Args:
        reward: the real reward, broadcast against the trajectory's batch.
        discount: gamma, or 0 where the real step terminated, likewise.
        imagined: H transitions; the log-densities of its actions enter with t >= 0.
        values: soft state values at its H + 1 states, [..., batch] each.
        temperature: alpha, broadcast against the batch.

    Returns:
        [H + 1, ..., batch].
    """
    gain: Tensor | float = 0.0
    candidates = [imagined.discounts[0] * values[0]]
    for step, (action, step_reward) in enumerate(
        zip(imagined.actions, imagined.rewards, strict=True)
    ):
        soft_reward = soft(step_reward, temperature, action.log_prob)
        gain = gain + imagined.discounts[step] * soft_reward
        candidates.append(gain + imagined.discounts[step + 1] * values[step + 1])
    widest = torch.broadcast_shapes(*(c.shape for c in candidates))
    stacked = torch.stack([candidate.expand(widest) for candidate in candidates])
    return reward + discount * stacked


def path_targets(
    trajectory: Trajectory, value: Tensor, discount: float, temperature: Tensor | float = 0.0
) -> list[Tensor]:
    """Soft returns from every step of a rollout on, closed by a value (Feinberg et al. 2018).

    `y_t = r_t + gamma_t V_tp1`, with `V_t = y_t - alpha log pi_t` for t < H and V_H given. gamma_t
    is the discount, and 0 where step t terminated.

    Args:
        trajectory: an H-step rollout with batch [...].
        value: soft state value V_H at its last state, [...].
        discount: gamma.
        temperature: alpha, broadcast against the batch.

    Returns:
        H of [...], first step first; what follows a termination is not to be used.
    """
    targets: list[Tensor] = []
    for t in reversed(range(len(trajectory.actions))):
        going_on = discount * (1.0 - trajectory.ended[t])
        targets.append(trajectory.rewards[t] + going_on * value)
        value = soft(targets[-1], temperature, trajectory.actions[t].log_prob)
    return targets[::-1]


def candidate_variances(candidates: Tensor) -> Tensor:
    """Unbiased variance of each candidate over critics and members.

    The candidate without model steps is the same for every member: its spread is the critics'.

    Args:
        candidates: [H + 1, critics, seeds, members, B].

    Returns:
        [H + 1, seeds, B].
    """
    critics, members = candidates.shape[1], candidates.shape[3]
    first = candidates[:1, :, :, 0].var(dim=1, correction=min(1, critics - 1))
    if len(candidates) == 1:
        return first
    others = candidates[1:].var(dim=(1, 3), correction=min(1, critics * members - 1))
    return torch.cat([first, others])


def steve_weights(variances: Tensor) -> Tensor:
    """Inverse-variance weights over horizons (Buckman et al. 2018, Eq. 5).

    Args:
        variances: of each candidate, [H + 1, ...].

    Returns:
        Weights that sum to 1 over the first axis; equal ones where no candidate has any spread.
    """
    # In units of the largest, so that the guard against 1/0 means the same for any reward.
    largest = variances.amax(dim=0, keepdim=True)
    relative = torch.where(largest > 0, variances / largest, 1.0)
    precision = 1.0 / relative.clamp(min=torch.finfo(variances.dtype).eps)
    return precision / precision.sum(dim=0, keepdim=True)
