"""What follows an end does not count, whatever the task's functions make of it."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from maac_bench.objectives.pathwise import actor_objective
from maac_bench.regression import expansion_regression, path_regression
from maac_bench.rollout import draw_rollout_noise, rollout, transitions
from maac_bench.streams import Streams
from maac_bench.tasks import Task, TrainingTask
from maac_bench.types import Transition
from tests.maac_bench.problems import make_case
from tests.maac_bench.trainers import tiny_config, tiny_trainer


def height_reward(state, action, next_state):
    """Not a number, and no slope, for a state that is below the ground."""
    return torch.log(state[..., 0])


def below_ground(state, action, next_state):
    return (next_state[..., 0] <= 0).to(next_state.dtype)


class Falling(gym.Env):
    """A height that sinks until it is at the ground, faster or slower by the action."""

    observation_space = gym.spaces.Box(-10.0, 10.0, (2,), np.float64)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._state = np.array([self.np_random.uniform(0.2, 1.0), 1.0])
        return self._state.copy(), {}

    def step(self, action):
        before = self._state[0]
        self._state[0] -= 0.1 + 0.05 * float(action[0])
        return self._state.copy(), float(np.log(before)), bool(self._state[0] <= 0), False, {}


FALLING = TrainingTask(
    Task("Falling-v0", 2, 1, 0.9, height_reward, below_ground),
    lambda **_: gym.wrappers.TimeLimit(Falling(), 20),
    20,
)


@pytest.mark.parametrize("algorithm", ["steve", "maac", "maac-plus"])
def test_rewards_need_not_be_numbers_beyond_an_end(algorithm):
    trainer = tiny_trainer((0, 1), tiny_config(algorithm), FALLING)
    for _ in range(4):
        trainer.rollout()
    assert not trainer.failures
    assert all(p.isfinite().all() for p in trainer.agent.critics.parameters)
    trainer.close()


@pytest.fixture
def falling():
    """Problem, policy, start states and noise of four steps, in which most rows end."""
    case = make_case(2)
    streams = Streams(range(2), "start")
    start = case.start(streams, 64)
    start[..., 0].abs_()
    problem = case.problem._replace(reward=height_reward, terminated=below_ground)
    noise = draw_rollout_noise(streams, problem.dynamics, 4, (64,), 3, 2)
    return problem, case.policy, start, noise


def test_an_ended_rollout_goes_on_from_its_start(falling):
    problem, policy, start, noise = falling
    path = rollout(problem, policy, start, noise)
    ended = torch.zeros(2, 64, dtype=torch.bool)
    for t in range(4):
        ends = path.reached[t][..., 0] <= 0
        assert torch.equal(path.alive[t], ~ended)
        ended |= ends
        assert torch.equal(path.states[t + 1][ends], start[ends])
        assert torch.equal(path.states[t + 1][~ends], path.reached[t][~ends])
        assert torch.equal(path.discounts[t + 1] == 0, ended)
    assert 0 < int(ended.sum()) < 128
    data = transitions(path)
    assert torch.equal(data.terminated > 0, data.next_state[..., 0] <= 0)


def test_values_and_gradients_are_numbers_beyond_an_end(falling):
    problem, policy, start, noise = falling
    parameters = [p.clone().requires_grad_() for p in policy.parameters]
    value = actor_objective(problem, policy.replace(parameters), start, noise)
    gradient = torch.autograd.grad(value.sum(), parameters)
    assert all(x.isfinite().all() for x in (value, *gradient))


def test_targets_are_numbers_beyond_an_end(falling):
    problem, policy, start, noise = falling
    alpha = torch.zeros(2)
    path = path_regression(problem, policy, alpha, start, noise)
    assert path.target.value.isfinite().all()
    fallen = start.clone()
    fallen[:, ::2, 0] *= -1
    terminated = below_ground(None, None, fallen)
    action = policy.mean_action(start)
    batch = Transition(start, action, torch.ones(2, 64), fallen, terminated)
    model = noise._replace(
        action=tuple(x.unsqueeze(1) for x in noise.action),
        model=tuple(x._replace(normal=x.normal.unsqueeze(1)) for x in noise.model),
        terminal=noise.terminal.unsqueeze(1),
    )
    target = expansion_regression(problem, policy, alpha, batch, model, steve=True).target.value
    assert target.isfinite().all()
    assert (target[:, ::2] == 1).all(), "an end is worth its reward alone"
