"""Gymnasium's -v5 locomotion tasks: model-side reward and termination.

Their forward reward is the displacement of the torso over the step, which the observation does not
contain. The model side uses the mean of the velocities before and after (the trapezoidal rule).
Ant's contact cost needs contact forces that are not observed and is left out. Termination is exact,
but for Hopper's limit on velocities, which are clipped in the observation. The tests measure both.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from maac_bench.tasks.base import Task


class HealthyRange(NamedTuple):
    """Limits outside which an episode ends: height, torso angle (None: free)."""

    height: tuple[float, float]
    angle: tuple[float, float] | None


class V5Task(NamedTuple):
    """One task: sizes, where the forward velocity stands, cost of actions, limits (None: none)."""

    sizes: tuple[int, int]
    velocity_index: int
    action_cost: float
    healthy: HealthyRange | None


V5_TASKS = {
    "HalfCheetah-v5": V5Task((17, 6), 8, 0.1, None),
    "Hopper-v5": V5Task((11, 3), 5, 1e-3, HealthyRange((0.7, math.inf), (-0.2, 0.2))),
    "Walker2d-v5": V5Task((17, 6), 8, 1e-3, HealthyRange((0.8, 2.0), (-1.0, 1.0))),
    "Ant-v5": V5Task((27, 8), 13, 0.5, HealthyRange((0.2, 1.0), None)),
}
# Ant's 78 contact-force entries are left out, as in all of its earlier versions' published results.
V5_OPTIONS = {"Ant-v5": {"include_cfrc_ext_in_observation": False}}
_LARGEST_POSITION = 100.0  # Hopper's limit on every state entry


def v5_task(name: str) -> Task:
    """The tensor side of a Gymnasium -v5 task."""
    row = V5_TASKS[name]
    hopper = name.startswith("Hopper")

    def healthy(state: Tensor) -> Tensor:
        if row.healthy is None:
            return torch.ones_like(state[..., 0], dtype=torch.bool)
        low, high = row.healthy.height
        # Walker2d and Hopper exclude the ends of the range; Ant includes them: a null set.
        inside = (state[..., 0] > low) & (state[..., 0] < high)
        if row.healthy.angle is not None:
            low, high = row.healthy.angle
            inside = inside & (state[..., 1] > low) & (state[..., 1] < high)
        if hopper:
            inside = inside & (state[..., 1:].abs() < _LARGEST_POSITION).all(dim=-1)
        return inside

    def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        index = row.velocity_index
        velocity = 0.5 * (state[..., index] + next_state[..., index])
        value = velocity - row.action_cost * action.square().sum(dim=-1)
        return value if row.healthy is None else value + healthy(next_state).to(value.dtype)

    def terminated(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        return 1.0 - healthy(next_state).to(next_state.dtype)

    return Task(name, *row.sizes, 0.99, reward, terminated)
