"""The paper's MuJoCo tasks as Gymnasium environments."""

from __future__ import annotations

from typing import Any

import mujoco  # type: ignore[import-untyped]
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box
from numpy.typing import NDArray

from maac_bench.tasks.mujoco_paper import ACTION_COST, HEIGHT_COST, PAPER_TASKS

# What makes the simulator start again from the rest pose, or drop the controls.
_UNSTABLE = [
    int(kind)
    for kind in (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
        mujoco.mjtWarning.mjWARN_BADCTRL,
    )
]


def is_unstable(data: Any) -> bool:  # noqa: ANN401
    """Whether a number that is not finite, or huge, has come up since `data` was last reset."""
    return bool(data.warning.number[_UNSTABLE].any())


class PaperEnv(MujocoEnv):
    """One of `PAPER_TASKS` as a Gymnasium environment."""

    metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}  # noqa: RUF012

    def __init__(self, task: str, **options: Any) -> None:  # noqa: ANN401
        self.task = PAPER_TASKS[task]
        size = self.task.sizes[0]
        space = Box(-np.inf, np.inf, (size,), np.float64)
        super().__init__(self.task.model, self.task.frame_skip, space, **options)
        self.metadata = {**self.metadata, "render_fps": round(1.0 / self.dt)}

    @property
    def observation(self) -> NDArray[np.float64]:
        """`[qpos without its hidden entries, qvel]`."""
        return np.concatenate([self.data.qpos[self.task.hidden :], self.data.qvel])

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, np.float64]]:
        """Reward from the state before the step; the episode never terminates.

        Observation and reward are NaN from where the simulation becomes unstable to the next reset.
        """
        reward = self.data.qvel[0] - ACTION_COST * np.square(action).sum(dtype=np.float64)
        if self.task.height is not None:
            off_height = self.data.qpos[self.task.hidden] - self.task.height
            reward += 1.0 - HEIGHT_COST * off_height**2
        self.do_simulation(action, self.frame_skip)
        if is_unstable(self.data):
            # The simulator has gone on from the rest pose. Whoever steps must see that it has not.
            return np.full_like(self.observation, np.nan), np.float64(np.nan), False, False, {}
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        return self.observation, reward, False, False, {"x_position": self.data.qpos[0].copy()}

    def reset_model(self) -> NDArray[np.float64]:
        """The rest pose with a little noise on positions and velocities."""
        noise, rng = self.task.noise, self.np_random
        qpos = self.init_qpos + rng.uniform(-noise, noise, self.model.nq)
        if self.task.gaussian:
            qvel = self.init_qvel + noise * rng.standard_normal(self.model.nv)
        else:
            qvel = self.init_qvel + rng.uniform(-noise, noise, self.model.nv)
        self.set_state(qpos, qvel)  # type: ignore[no-untyped-call]
        return self.observation
