"""The paper's MuJoCo tasks (the MBBL family; Wang et al. 2019): no early termination, r(s, a).

Observations are qpos without the global position, then qvel. The reward is a function of the
observation *before* the step and of the action; its velocity term reads the state, not a finite
difference. Bodies are Gymnasium's own XML files.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from maac_bench.tasks.base import Task, never
from maac_bench.types import RewardFunction

EPISODE_STEPS = 1000
ACTION_COST = 0.1
HEIGHT_COST = 3.0


class PaperTask(NamedTuple):
    """One row of the family.

    model: XML file. frame_skip: simulation steps per action. hidden: leading entries of qpos that
    are not observed. sizes: observation and action. height: what the torso's height is rewarded
    for (None: no height term and no bonus of 1). noise: scale of the start noise; gaussian: whether
    its velocity part is normal rather than uniform.
    """

    model: str
    frame_skip: int
    hidden: int
    sizes: tuple[int, int]
    height: float | None
    noise: float
    gaussian: bool

    @property
    def velocity_index(self) -> int:
        """Where the forward velocity stands in the observation: the first entry of qvel."""
        return {11: 5, 17: 8, 27: 13}[self.sizes[0]]


PAPER_TASKS = {
    "HalfCheetah": PaperTask("half_cheetah.xml", 5, 1, (17, 6), None, 0.1, True),
    "Hopper": PaperTask("hopper.xml", 4, 1, (11, 3), 1.3, 5e-3, False),
    "Walker2d": PaperTask("walker2d.xml", 4, 1, (17, 6), 1.3, 5e-3, False),
    "Ant": PaperTask("ant.xml", 5, 2, (27, 8), 0.57, 0.1, True),
}


def paper_reward(task: PaperTask) -> RewardFunction:
    """`s_v - 0.1 |a|^2 [- 3 (s_0 - height)^2 + 1]` as a tensor function."""
    velocity = task.velocity_index

    def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        value = state[..., velocity] - ACTION_COST * action.square().sum(dim=-1)
        if task.height is None:
            return value
        return value + 1.0 - HEIGHT_COST * (state[..., 0] - task.height).square()

    return reward


def paper_task(name: str) -> Task:
    """The tensor side of `maac_bench/<name>-v0`."""
    row = PAPER_TASKS[name]
    return Task(f"maac_bench/{name}-v0", *row.sizes, 0.99, paper_reward(row), never)
