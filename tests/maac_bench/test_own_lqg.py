"""Linear-quadratic rows of the user's own whose functions contradict their closed form."""

import numpy as np
import pytest
import torch

import analytic
from maac_bench.__main__ import main
from maac_bench.tasks import TASKS, TensorDynamics, linear_quadratic_task, make_training_task
from maac_bench.types import ModelNoise

NAME = f"{__name__}:Three-v0"
LQG = analytic.random_lqg(3, 1, np.random.default_rng(5))
RIGHT = linear_quadratic_task(NAME, LQG)


def failing(*_):
    raise LookupError("no such thing")


class Louder:
    """Twice the noise."""

    def step(self, state, action, noise):
        return RIGHT.true.dynamics.step(state, action, noise._replace(normal=2 * noise.normal))


def following(state, action):
    noise = ModelNoise(torch.zeros_like(state))
    return RIGHT.true.dynamics.step(state, action, noise)


class Slower:
    """Half of the right dynamics, with the right noise."""

    def step(self, state, action, noise):
        missing = 0.5 * following(state, action)
        return RIGHT.true.dynamics.step(state, action, noise) - missing


class LouderAway:
    """The right noise at rest, more of it elsewhere."""

    def step(self, state, action, noise):
        scale = 1 + state.norm(dim=-1, keepdim=True)
        return RIGHT.true.dynamics.step(state, action, noise._replace(normal=scale * noise.normal))


class Heavier:
    """The right noise in units, of another distribution."""

    def step(self, state, action, noise):
        return RIGHT.true.dynamics.step(state, action, noise._replace(normal=noise.normal**3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        ({"discount": 0.5}, "says discount 0.5, its lqg has 0.9"),
        ({"state_size": 4}, "says state_size 4, its lqg has 3"),
        ({"action_size": 2}, "says action_size 2, its lqg has 1"),
        ({"reward": lambda s, a, n: 3 * RIGHT.reward(s, a, n)}, "the reward of the row of task"),
        ({"reward": failing}, "fails on tensors: LookupError: no such thing"),
        ({"terminated": lambda s, a, n: torch.ones(s.shape[:-1])}, "the termination of the row"),
        ({"true": TensorDynamics(Slower(), RIGHT.true.start)}, "maac-bench: the true dynamics of"),
        ({"true": TensorDynamics(Louder(), RIGHT.true.start)}, "the noise of the true dynamics of"),
        ({"true": TensorDynamics(LouderAway(), RIGHT.true.start)}, "the noise of the true"),
        ({"true": TensorDynamics(Heavier(), RIGHT.true.start)}, "the noise of the true"),
        ({"true": None}, "has no tensor dynamics"),
        ({"true": RIGHT.true._replace(start=failing)}, "fails: LookupError: no such thing"),
    ],
)
@pytest.mark.parametrize("estimator", ["pathwise", "score"])
def test_a_row_that_contradicts_its_closed_form_is_refused(
    monkeypatch, capsys, estimator, changes, message
):
    monkeypatch.setitem(TASKS, NAME, lambda: RIGHT._replace(**changes))
    arguments = ["--task", NAME, "--estimator", estimator, "--samples", "8", "--replicates", "2"]
    status = main(["estimate", *arguments])
    error = capsys.readouterr().err
    assert status == (2 if changes else 0)
    assert message in error
    assert error.count("\n") == (1 if changes else 0)


@pytest.mark.parametrize("discount", [np.float32(LQG.gamma), np.float64(LQG.gamma)])
def test_numpys_numbers_are_discounts(monkeypatch, discount):
    monkeypatch.setitem(TASKS, NAME, lambda: RIGHT._replace(discount=discount, lqg=None))
    assert make_training_task(NAME).task.discount == discount


@pytest.mark.parametrize("discount", ["0.9", True, False, None, float("nan")])
def test_other_things_are_no_discounts(monkeypatch, discount):
    monkeypatch.setitem(TASKS, NAME, lambda: RIGHT._replace(discount=discount, lqg=None))
    with pytest.raises(ValueError, match=rf"the discount {discount!r}, which is no number in"):
        make_training_task(NAME)


def test_a_row_without_dynamics_or_environment_is_named(monkeypatch):
    monkeypatch.setitem(TASKS, NAME, lambda: RIGHT._replace(true=None, lqg=None))
    with pytest.raises(ValueError, match="and its row has no true dynamics to make one of"):
        make_training_task(NAME)
