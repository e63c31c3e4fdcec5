"""Rows that a user adds for an environment of their own, and gets wrong."""

from dataclasses import replace
from typing import NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import torch

from maac_bench.tasks import (
    TASKS,
    LinearGaussianDynamics,
    Task,
    TensorDynamics,
    make_training_task,
    own_remarks,
)
from maac_bench.training import RunSettings, train
from tests.maac_bench.trainers import tiny_config

# Gymnasium imports what stands before the colon: this module.
NAME = f"{__name__}:Slide-v0"


class Slide(gym.Env):
    """A point that is pushed along a line, paid for being near 0, until it is beyond 1."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-0.5, 0.5, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.normal(size=2).astype(np.float32)
        return self.state, {}

    def step(self, action):
        paid = -float(self.state[0] ** 2 + action[0] ** 2)
        self.state = self.state + np.array([0.1 * self.state[1], action[0]], np.float32)
        return self.state, paid, bool(abs(self.state[0]) > 1.0), False, {}


def reward(state, action, next_state):
    return -state[..., 0].square() - action[..., 0].square()


def terminated(state, action, next_state):
    return (next_state[..., 0].abs() > 1.0).float()


RIGHT = Task(NAME, 2, 1, 0.9, reward, terminated)


@pytest.fixture
def row(monkeypatch):
    """Makes the training task of a row."""
    gym.register("Slide-v0", entry_point=Slide, max_episode_steps=50)

    def make(**changes):
        monkeypatch.setitem(TASKS, NAME, lambda: RIGHT._replace(**changes))
        return make_training_task(NAME)

    yield make
    del gym.registry["Slide-v0"]


def test_a_right_row_is_left_alone(row):
    assert own_remarks(row()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "rows:Other-v0"}, "says name 'rows:Other-v0', it is '.*:Slide-v0'"),
        ({"state_size": 3}, "says state_size 3, its environment has 2"),
        ({"action_size": 2}, "says action_size 2, its environment has 1"),
        ({"discount": 1.5}, r"has the discount 1.5, which is no number in \[0, 1\)"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(row, changes, message):
    with pytest.raises(ValueError, match=message):
        row(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"reward": lambda s, a, n: -s.square()},
            r"reward of the row of task '.*:Slide-v0' must give .* \[2, 100\] for states "
            r"\[2, 100, 2\]; it gave \[2, 100, 2\]",
        ),
        # For [N, n], while imagined batches have leading axes.
        ({"reward": lambda s, a, n: -s[:, 0].square()}, r"it gave \[2, 2\]"),
        ({"reward": lambda s, a, n: torch.as_tensor(s.numpy()[..., 0])}, "Can't call numpy"),
        ({"terminated": lambda s, a, n: s[..., 0] > 1.0}, "floating-point .* it gave torch.bool"),
        ({"terminated": lambda s, a, n: False}, "terminated of the row .* it gave bool"),
        (
            {"reward": lambda s, a, n: s[..., 7]},
            "reward of the row .* fails on tensors: IndexError",
        ),
    ],
)
def test_a_function_that_cannot_be_used_is_named(row, changes, message):
    with pytest.raises(ValueError, match=message):
        own_remarks(row(**changes))


def test_functions_that_say_something_else_than_the_environment_are_remarked_upon(row):
    (line,) = own_remarks(row(reward=lambda s, a, n: 2.0 + reward(s, a, n)))
    assert "differs from the environment's by 2 (root mean square over 200 random steps" in line
    (line,) = own_remarks(row(reward=lambda s, a, n: torch.full_like(s[..., 0], torch.nan)))
    assert "by nan" in line
    (line,) = own_remarks(row(terminated=lambda s, a, n: torch.zeros_like(s[..., 0])))
    assert f"termination of {NAME}'s row is not the environment's at " in line
    assert " of 200 random steps" in line


def test_a_large_reward_that_float32_rounds_is_right(row, monkeypatch):
    step = Slide.step

    def rich(env, action):
        state, paid, *rest = step(env, action)
        return state, 1e7 + paid, *rest

    monkeypatch.setattr(Slide, "step", rich)
    assert own_remarks(row(reward=lambda s, a, n: 1e7 + reward(s, a, n))) == []


def test_an_environment_that_cannot_be_stepped_is_named(row, monkeypatch):
    monkeypatch.setattr(Slide, "step", lambda env, action: (env.state, 0.0, False, {}))
    with pytest.raises(ValueError, match="fails in its first 200 random steps: ValueError: not en"):
        own_remarks(row())


def test_an_outcome_that_is_learned_has_no_row(row, monkeypatch):
    training = row()._replace(learns_outcome=True)
    assert own_remarks(training) == []


def test_a_reward_without_a_gradient_is_remarked_upon(row):
    (line,) = own_remarks(row(reward=lambda s, a, n: reward(s.detach(), a.detach(), n)))
    assert line.startswith(f"no gradient flows through the reward of {NAME}'s row")


def test_a_reward_that_never_changes_needs_no_gradient(row, monkeypatch):
    step = Slide.step

    def even(env, action):
        state, _, *rest = step(env, action)
        return state, 1.0, *rest

    monkeypatch.setattr(Slide, "step", even)
    assert own_remarks(row(reward=lambda s, a, n: torch.ones_like(s[..., 0]))) == []


def test_an_environment_may_change_the_state_that_it_has_handed_out(row, monkeypatch):
    def in_place(env, action):
        paid = -float(env.state[0] ** 2 + action[0] ** 2)
        env.state += np.array([0.1 * env.state[1], action[0]], np.float32)
        return env.state, paid, bool(abs(env.state[0]) > 1.0), False, {}

    monkeypatch.setattr(Slide, "step", in_place)
    assert own_remarks(row()) == []


class Boxed(Slide):
    """Pays and ends with arrays of one number."""

    def step(self, action):
        state, paid, ended, truncated, info = super().step(action)
        return state, np.array([paid]), np.array([ended]), truncated, info


def test_rewards_in_arrays_of_one_are_numbers(row, monkeypatch):
    """As they are where an episode is played."""
    training = row()
    monkeypatch.setattr(gym.registry["Slide-v0"], "entry_point", Boxed)
    assert own_remarks(training) == []


class Sliding(NamedTuple):
    """The slide in tensors; scale: of the push."""

    scale: float = 1.0
    members: int = 0

    def step(self, state, action, noise):
        position, velocity = state[..., 0], state[..., 1]
        moved = (position + 0.1 * velocity, velocity + self.scale * action[..., 0])
        return torch.stack(moved, dim=-1) + noise.normal


def test_true_dynamics_are_compared_with_the_environments_steps(row):
    """In its own units, through the scaling that agents see."""
    assert own_remarks(row(true=TensorDynamics(Sliding(), None))) == []
    (remark,) = own_remarks(row(true=TensorDynamics(Sliding(1.5), None)))
    assert "true dynamics of" in remark
    # Pushes are uniform in +-0.5; half of one is missing in the velocity.
    difference = float(remark.partition("environment's by ")[2].split()[0])
    assert difference == pytest.approx(0.5 * 0.5 / 3**0.5, rel=0.1)
    assert "in feature 1 of the state" in remark


class Creeping(Slide):
    """The same with a third entry that moves by thousandths."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)

    def reset(self, *, seed=None, options=None):
        state, info = super().reset(seed=seed)
        self.state = np.append(state, np.float32(0.0))
        return self.state, info

    def step(self, action):
        small = self.state[2] + 1e-3 * action[0]
        self.state = self.state[:2]
        state, paid, ended, _, info = super().step(action)
        self.state = np.append(state, np.float32(small))
        return self.state, paid, ended, False, info


class ThreeEntries(NamedTuple):
    """Its dynamics; `sign` is which way the small entry moves."""

    sign: float

    def step(self, state, action, noise):
        position, velocity, small = state.unbind(-1)
        push = action[..., 0]
        moved = (position + 0.1 * velocity, velocity + push, small + 1e-3 * self.sign * push)
        return torch.stack(moved, dim=-1) + noise.normal


def test_an_entry_on_a_small_scale_is_compared_on_its_own(row, monkeypatch):
    monkeypatch.setattr(gym.registry["Slide-v0"], "entry_point", Creeping)
    assert own_remarks(row(state_size=3, true=TensorDynamics(ThreeEntries(1.0), None))) == []
    (remark,) = own_remarks(row(state_size=3, true=TensorDynamics(ThreeEntries(-1.0), None)))
    assert "in feature 2 of the state" in remark


def test_what_rounds_to_nothing_is_no_difference(row, monkeypatch):
    """In an environment that pays nothing on random steps, and an entry that hardly moves."""

    class Sparse(Creeping):
        def step(self, action):
            state, _, *rest = super().step(1e-6 * action)
            return state, 0.0, *rest

    monkeypatch.setattr(gym.registry["Slide-v0"], "entry_point", Sparse)

    def distant(state, action, next_state):
        return torch.sigmoid(next_state[..., 0] - 30.0)

    still = TensorDynamics(Still(), None)
    assert own_remarks(row(state_size=3, reward=distant, true=still)) == []


class Still:
    """Coasting: pushes of 1e-6 are left out."""

    def step(self, state, action, noise):
        position, velocity, small = state.unbind(-1)
        return torch.stack((position + 0.1 * velocity, velocity, small), dim=-1) + noise.normal


def test_what_float32_does_to_a_large_entry_is_no_difference(row, monkeypatch):
    class Far(Creeping):
        def reset(self, **options):
            state, info = super().reset(**options)
            self.state = state + np.array([0.0, 0.0, 1000.0], np.float32)
            return self.state, info

    class Thirds(ThreeEntries):
        """The same with the small entry rounded twice more, by up to 1e-4."""

        def step(self, state, action, noise):
            following = super().step(state, action, noise)
            rounded = following[..., 2:] * 3.0 / 3.0 + 6e-5
            return torch.cat([following[..., :2], rounded], dim=-1)

    monkeypatch.setattr(gym.registry["Slide-v0"], "entry_point", Far)
    assert own_remarks(row(state_size=3, true=TensorDynamics(Thirds(1.0), None))) == []


def test_small_rewards_are_compared_on_their_own_scale(row, monkeypatch):
    class Cheap(Slide):
        def step(self, action):
            state, paid, *rest = super().step(action)
            return state, 1e-4 * paid, *rest

    monkeypatch.setattr(gym.registry["Slide-v0"], "entry_point", Cheap)
    assert own_remarks(row(reward=lambda s, a, n: 1e-4 * reward(s, a, n))) == []
    (remark,) = own_remarks(row(reward=lambda s, a, n: 2e-4 * reward(s, a, n)))
    assert "differs from the environment's by" in remark


class Pair:
    """Gives more than the next states."""

    def step(self, state, action, noise):
        return state, action


@pytest.mark.parametrize(
    ("dynamics", "message"),
    [
        (Sliding("x"), "true dynamics of the row of task .* fail on tensors: "),
        (LinearGaussianDynamics(torch.eye(2), torch.ones(3, 1), torch.eye(2)), "fail on tensors"),
        (Pair(), "must give next states of the states' shape .* they gave tuple"),
    ],
)
def test_true_dynamics_that_cannot_be_used_are_refused(row, dynamics, message):
    with pytest.raises(ValueError, match=message):
        own_remarks(row(true=TensorDynamics(dynamics, None)))


@pytest.mark.parametrize("discount", [None, 0.9, 0.98])
def test_a_discount_that_replaces_the_rows_is_said(row, tmp_path, capsys, discount):
    """As that of size tiny does."""
    row()
    config = replace(tiny_config("sac"), discount=discount)
    train(RunSettings(NAME, "sac", (0,), 1, tmp_path, compiled=False), config, {})
    said = "discount 0.98 is used, not 0.9 of" in capsys.readouterr().out
    assert said == (discount == 0.98)


def test_a_discount_that_nobody_stated_is_not_missed(row, tmp_path, capsys, monkeypatch):
    """Where a task has no row, its discount is this package's."""
    row()
    monkeypatch.delitem(TASKS, NAME)
    config = replace(tiny_config("sac"), discount=0.98)
    train(RunSettings(NAME, "sac", (0,), 1, tmp_path, compiled=False), config, {})
    assert "discount" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make_row", "message"),
    [
        (lambda: None, "gives something else than maac_bench.tasks.base.Task describes: NoneType"),
        (lambda: {}["key"], "its row raises KeyError: 'key'"),
        (3, "its row raises TypeError: 'int' object is not callable"),
        (lambda: RIGHT._replace(discount=None), "has the discount None, which is no number"),
    ],
)
def test_a_row_that_makes_no_task_is_named(row, monkeypatch, make_row, message):
    row()
    monkeypatch.setitem(TASKS, NAME, make_row)
    with pytest.raises(ValueError, match=message):
        make_training_task(NAME)
