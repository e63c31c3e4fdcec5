"""Whether an environment that is not of this package repeats itself is said before training."""

import gymnasium as gym
import numpy as np
import pytest

from maac_bench.tasks import make_training_task, own_remarks
from maac_bench.tasks.own import repetition_remarks

ELSEWHERE = np.random.default_rng(0)


class Drift(gym.Env):
    """A point that is pushed, with noise that the seed decides."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    start = noise = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = (self.start or self.np_random).normal(size=2).astype(np.float32)
        return self.state, {}

    def step(self, action):
        self.state += action + (self.noise or self.np_random).normal(size=2).astype(np.float32)
        return self.state, 0.0, False, False, {}


class Unseeded(Drift):
    """Its start states come from elsewhere."""

    start = ELSEWHERE


class Jittery(Drift):
    """Its noise comes from elsewhere."""

    noise = ELSEWHERE


class Generous(Drift):
    """Its rewards come from elsewhere."""

    def step(self, action):
        state, _, *others = super().step(action)
        return state, float(ELSEWHERE.normal()), *others


class Worded(Drift):
    """An observation that is not a number until it is made one."""

    def reset(self, **options):
        return super().reset(**options)[0].astype(object), {}


class Broken(Drift):
    def step(self, action):
        raise RuntimeError("no step")


class Lasting(Drift):
    """Every episode is a step longer than the one before."""

    episodes = steps = 0

    def reset(self, **options):
        self.episodes, self.steps = self.episodes + 1, 0
        return super().reset(**options)

    def step(self, action):
        self.steps += 1
        state, paid, _, truncated, info = super().step(action)
        return state, paid, self.steps > self.episodes, truncated, info


@pytest.mark.parametrize(
    ("env", "where"),
    [
        (Unseeded, "at the start"),
        (Jittery, "on the way"),
        (Generous, "on the way"),
        (Lasting, "on the way"),
    ],
)
def test_an_environment_that_does_not_repeat_itself_is_named(env, where):
    (line,) = repetition_remarks("Drift-v0", env())
    assert line.startswith("Drift-v0 does not repeat itself from a seed")
    assert f"it differs {where}" in line
    assert "not resumed exactly" in line


@pytest.mark.parametrize("env", [Drift, Worded, Broken])
def test_what_repeats_itself_or_fails_is_not_named_here(env):
    """What fails is named by training, with the step in which it does."""
    assert repetition_remarks("Drift-v0", env()) == []


@pytest.mark.parametrize("name", ["Pendulum-v1", "InvertedPendulum-v5"])
def test_gymnasiums_environments_repeat_themselves(name):
    training = make_training_task(name)
    assert training.learns_outcome
    assert own_remarks(training) == []


def test_it_is_asked_of_tasks_whose_outcome_is_learned():
    gym.register("Unseeded-v0", entry_point=Unseeded, max_episode_steps=5)
    (line,) = own_remarks(make_training_task("Unseeded-v0"))
    assert "it differs at the start" in line
    del gym.registry["Unseeded-v0"]
