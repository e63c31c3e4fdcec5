"""A task with tensor dynamics as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

from maac_bench.streams import Streams
from maac_bench.tasks.base import Task, require_true
from maac_bench.tasks.drawing import Polyline, picture
from maac_bench.types import ModelNoise


class TensorEnv(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Steps a task's own tensor dynamics, one state at a time.

    Args:
        task: a task with tensor dynamics.
        action_limit: half-width of the action space. Actions are not clipped.
        lines: what a state looks like; None for a task without a picture.
        render_mode: "rgb_array", or None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(
        self,
        task: Task,
        action_limit: float = 1.0,
        lines: Callable[[Sequence[float]], Sequence[Polyline]] | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.task, self._true = task, require_true(task)
        self._lines, self.render_mode = lines, render_mode
        self.observation_space = Box(-np.inf, np.inf, (task.state_size,), np.float32)
        self.action_space = Box(-action_limit, action_limit, (task.action_size,), np.float32)
        self._state = torch.zeros(task.state_size)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """A start state from the task's own distribution."""
        super().reset(seed=seed)
        streams = Streams([int(self.np_random.integers(2**31))], "environment")
        self._state = self._true.start(streams, 1)[0, 0]
        return self._observation(), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One step with process noise from the environment's own generator."""
        size = self.task.state_size
        normal = torch.tensor(self.np_random.standard_normal(size), dtype=self._state.dtype)
        control = torch.as_tensor(action, dtype=self._state.dtype)
        following = self._true.dynamics.step(self._state, control, ModelNoise(normal))
        reward = float(self.task.reward(self._state, control, following))
        ended = bool(self.task.terminated(self._state, control, following) > 0)
        self._state = following
        return self._observation(), reward, ended, False, {}

    def render(self) -> NDArray[np.uint8]:
        """A picture of the state, [height, width, 3]; ValueError for a task without one."""
        if self._lines is None:
            raise ValueError(f"task {self.task.name!r} has no picture")
        return picture(self._lines(self._state.tolist()))

    def _observation(self) -> NDArray[np.float32]:
        return self._state.numpy().astype(np.float32)
