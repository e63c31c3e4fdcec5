"""Stacked environments: one per seed, stepped in lock step, each resumable without its state.

An episode is determined by its reset seed and its actions, so an interrupted one is restored by
playing its actions again. This works for every deterministic Gymnasium environment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from maac_bench.names import described

Array: TypeAlias = NDArray[np.float32]
MakeEnv: TypeAlias = Callable[[], gym.Env[Any, Any]]


_RESULTS = ("observation", "reward", "terminated", "truncated", "info")


class EnvStep(NamedTuple):
    """What one step of every environment gave.

    next_state [seeds, n]; reward, terminated, truncated [seeds].
    """

    next_state: Array
    reward: Array
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]


class Episodes:
    """Endless episodes of one environment per seed.

    Args:
        make: makes an environment with a time limit.
        seeds: one environment each.
        purpose: name of the random stream of start states.
    """

    def __init__(self, make: MakeEnv, seeds: Sequence[int], purpose: str) -> None:
        self._envs = [make() for _ in seeds]
        self._seeds, self._purpose = list(seeds), list(purpose.encode())
        self.count = [0] * len(self._seeds)
        """episodes begun, per seed"""
        self.age = [0] * len(self._seeds)
        """steps into the current episode, per seed; 0 where the next step begins one"""
        self._ready = [False] * len(self._seeds)
        size = int(np.prod(self._envs[0].observation_space.shape or ()))
        self._state: list[Array] = [np.zeros(size, np.float32) for _ in self._seeds]
        self.action_size = int(np.prod(self._envs[0].action_space.shape or ()))
        """entries of one action"""

    def current(self) -> Array:
        """The states reached [seeds, n]; of no meaning for a seed between two episodes."""
        return np.stack(self._state)

    def begin(self) -> Array:
        """The current states [seeds, n], after a reset where an episode has ended."""
        for k, age in enumerate(self.age):
            if age == 0 and not self._ready[k]:
                self._state[k] = self._reset(k, self.count[k])
                self._ready[k] = True
        return np.stack(self._state)

    def step(self, action: Array, active: NDArray[np.bool_] | None = None) -> EnvStep:
        """Step the environments with action [seeds, m]; `begin` gave the states.

        Args:
            action: in the environments' units.
            active: which to step, [seeds]; the others stand still with reward 0.
        """
        seeds = len(self._envs)
        following = self.current()
        reward = np.zeros(seeds, np.float32)
        terminated, truncated = np.zeros(seeds, np.bool_), np.zeros(seeds, np.bool_)
        for k in range(seeds) if active is None else np.flatnonzero(active).tolist():
            state, paid, terminated[k], truncated[k], _ = self._play(k, self.age[k] + 1, action[k])
            reward[k] = _number(paid)
            following[k] = self._state[k] = self._vector(state)
            ended = terminated[k] or truncated[k]
            self.age[k] = 0 if ended else self.age[k] + 1
            self.count[k] += int(ended)
            self._ready[k] = not ended
        return EnvStep(following, reward, terminated, truncated)

    def rewind(self) -> None:
        """Give up the episodes under way: the next step begins new ones."""
        for k, age in enumerate(self.age):
            self.count[k] += int(age > 0)
            self.age[k], self._ready[k] = 0, False

    def skip_to(self, count: Sequence[int]) -> None:
        """Continue after these numbers of episodes, between two episodes."""
        self.count, self.age = list(count), [0] * len(self.age)
        self._ready = [False] * len(self._ready)

    def restore(self, count: Sequence[int], actions: Sequence[Array]) -> Array:
        """Continue after these episodes, with the current ones' actions so far, [age, m] each.

        Returns:
            The states reached, [seeds, n], for the caller to compare with what it knows; rows of
            seeds that are between two episodes are not meaningful.
        """
        self.count, self.age = list(count), [len(rows) for rows in actions]
        self._ready = [len(rows) > 0 for rows in actions]
        for k, rows in enumerate(actions):
            if self._ready[k]:
                self._state[k] = self._reset(k, self.count[k])
            for number, row in enumerate(rows, start=1):
                self._state[k] = self._vector(self._play(k, number, row)[0])
        return np.stack(self._state)

    def close(self) -> None:
        """Free the environments; once, since some cannot be closed again."""
        environments, self._envs = self._envs, []
        for env in environments:
            env.close()

    def _reset(self, k: int, episode: int) -> Array:
        entropy = np.random.SeedSequence([self._seeds[k], episode, *self._purpose])
        try:
            state, _ = self._envs[k].reset(seed=int(entropy.generate_state(1)[0]) >> 1)
        except Exception as error:  # whatever the environment raises
            raise _failure("reset", error) from error
        return self._vector(state)

    def _play(self, k: int, number: int, action: Array) -> tuple[Any, ...]:
        """What the environment gives for the step of that number in its episode."""
        try:
            found = tuple(self._envs[k].step(action))
        except Exception as error:  # whatever the environment raises
            raise _failure(f"step {number} of an episode", error) from error
        if len(found) != len(_RESULTS):
            raise ValueError(
                f"the environment's step gives {len(found)} values; Gymnasium's are "
                f"{', '.join(_RESULTS)}"
            )
        return found

    def _vector(self, state: object) -> Array:
        """An observation as it is kept; ValueError if it is not of the space's shape."""
        vector = np.asarray(state, np.float32)
        if vector.shape != self._state[0].shape:
            raise ValueError(
                f"the environment's observation has the shape {vector.shape}, its space "
                f"{self._state[0].shape}"
            )
        return vector


def _failure(where: str, error: Exception) -> ValueError:
    """What to say of an environment's own error."""
    return ValueError(f"the environment fails in {where}: {described(error)}")


def _number(reward: Any) -> float:  # noqa: ANN401
    """A reward as a number, also from an array of one."""
    try:
        return float(np.asarray(reward, np.float64).item())
    except (TypeError, ValueError) as error:
        raise ValueError(f"the environment's reward is no number: {reward!r}") from error
