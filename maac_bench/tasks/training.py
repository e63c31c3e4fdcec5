"""A task as an agent sees it: actions in (-1, 1), whatever the environment's range."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from maac_bench.tasks.base import Task, never
from maac_bench.types import Dynamics, ModelNoise


class ActionScale(NamedTuple):
    """Affine map from (-1, 1) to the environment's action range, per dimension of the action."""

    center: tuple[float, ...]
    half_width: tuple[float, ...]

    def __call__(self, action: Tensor) -> Tensor:
        """Action [..., m] in the environment's units."""
        # Numbers, unlike a tensor, are on every device.
        scaled = zip(self.center, self.half_width, action.unbind(dim=-1), strict=True)
        return torch.stack([center + half * a for center, half, a in scaled], dim=-1)


def action_scale(space: gym.Space[Any], name: str) -> ActionScale:
    """The map for a bounded box; ValueError for any other action space."""
    if (
        not isinstance(space, Box)
        or len(space.shape) != 1
        or not np.issubdtype(space.dtype, np.floating)
    ):
        raise ValueError(f"task {name!r} needs continuous actions in one vector, has {space}")
    low, high = torch.tensor(space.low), torch.tensor(space.high)
    if not bool((torch.isfinite(low) & torch.isfinite(high)).all()):
        raise ValueError(f"task {name!r} has an unbounded action space: give it limits")
    if not bool((low < high).all()):
        raise ValueError(f"task {name!r} has an action whose limits are not apart: {space}")
    return ActionScale(tuple((0.5 * (low + high)).tolist()), tuple((0.5 * (high - low)).tolist()))


def state_size(space: gym.Space[Any], name: str) -> int:
    """Length of the observation vector; ValueError for any other observation space."""
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise ValueError(f"task {name!r} needs observations in one vector, has {space}")
    return int(space.shape[0])


def unknown(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """Stands where a task has no model-side function: ValueError."""
    raise ValueError("reward and termination of this task are not known before they are learned")


def is_unit(space: gym.Space[Any]) -> bool:
    """Whether actions already lie in [-1, 1]."""
    return isinstance(space, Box) and bool(np.all(space.low == -1.0) and np.all(space.high == 1.0))


class UnitDynamics(NamedTuple):
    """Dynamics of an environment's own actions, for actions in (-1, 1)."""

    dynamics: Dynamics
    scale: ActionScale

    @property
    def members(self) -> int:
        """As many as without the scale."""
        return self.dynamics.members

    def step(self, state: Tensor, action: Tensor, noise: ModelNoise) -> Tensor:
        """The next state, [..., n]."""
        return self.dynamics.step(state, self.scale(action), noise)


def with_unit_actions(task: Task, scale: ActionScale) -> Task:
    """The task's functions for actions in (-1, 1); its closed forms do not apply."""

    def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        return task.reward(state, scale(action), next_state)

    def terminated(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        return task.terminated(state, scale(action), next_state)

    true = task.true and task.true._replace(dynamics=UnitDynamics(task.true.dynamics, scale))
    ends = never if task.terminated is never else terminated
    return task._replace(reward=reward, terminated=ends, true=true, lqg=None)
