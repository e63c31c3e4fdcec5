"""Model-side reward and termination against the environments, on real transitions."""

import subprocess
import sys
from typing import NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import analytic
from maac_bench.tasks import (
    TASKS,
    make_env,
    make_task,
    make_training_task,
    require_lqg,
    require_true,
)
from maac_bench.tasks.base import Task
from maac_bench.tasks.gymnasium_v5 import V5_TASKS
from maac_bench.tasks.mujoco_paper import PAPER_TASKS
from maac_bench.types import ModelNoise

PAPER = [f"maac_bench/{name}-v0" for name in PAPER_TASKS]
SWING_UP = ["maac_bench/Pendulum-v0", "maac_bench/CartPole-v0"]
LINEAR = [name for name in TASKS if name not in (*PAPER, *SWING_UP, *V5_TASKS)]

# What the -v5 rewards take from outside the observation (displacement over the step, Ant's contact
# forces): root mean square and mean of the difference over the transitions below.
V5_REWARD_ERROR = {
    "HalfCheetah-v5": (0.2, 0.01),
    "Hopper-v5": (0.01, 0.003),
    "Walker2d-v5": (0.03, 0.003),
    "Ant-v5": (0.1, 0.01),
}

# The XML of the cheetah still asks for its total mass in a way MuJoCo is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.*settotalmass.*")


class Steps(NamedTuple):
    state: torch.Tensor
    action: torch.Tensor
    reward: np.ndarray
    next_state: torch.Tensor
    terminated: np.ndarray
    truncated: np.ndarray


def collect(name: str, count: int = 10_000) -> Steps:
    """Half uniform actions, half slowly varying ones, which move a body like a trained policy."""
    env, rng = make_env(name), np.random.default_rng(0)
    limit = env.action_space.high
    smooth, rows = np.zeros(limit.shape), []
    state, _ = env.reset(seed=0)
    for k in range(count):
        smooth = np.clip(0.9 * smooth + 0.4 * rng.standard_normal(limit.shape), -1.0, 1.0)
        uniform = rng.uniform(-1.0, 1.0, limit.shape)
        action = (limit * (smooth if k // 500 % 2 else uniform)).astype(np.float32)
        following, reward, terminated, truncated, _ = env.step(action)
        rows.append((state, action, reward, following, terminated, truncated))
        state = env.reset(seed=k)[0] if terminated or truncated else following
    env.close()
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    tensors = {i: torch.tensor(columns[i], dtype=torch.float64) for i in (0, 1, 3)}
    return Steps(*(tensors.get(i, column) for i, column in enumerate(columns)))


@pytest.fixture(scope="module", params=list(TASKS))
def recorded(request) -> tuple[str, Task, Steps]:
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return request.param, make_task(request.param), collect(request.param)
    finally:
        torch.set_default_dtype(previous)


def test_reward_is_the_environments(recorded):
    name, task, steps = recorded
    reward = task.reward(steps.state, steps.action, steps.next_state).numpy()
    error = reward - steps.reward
    if name in V5_REWARD_ERROR:
        rms, mean = V5_REWARD_ERROR[name]
        assert np.sqrt(np.mean(error**2)) < rms
        assert abs(error.mean()) < mean
        # The test can fail: the velocity after the step alone is a clearly worse reading.
        row = V5_TASKS[name]
        later = (
            0.5
            * (steps.next_state[:, row.velocity_index] - steps.state[:, row.velocity_index]).numpy()
        )
        assert np.mean((error + later) ** 2) > 1.5 * np.mean(error**2)
    else:
        # Environments with tensor dynamics observe in single precision.
        np.testing.assert_allclose(reward, steps.reward, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", V5_REWARD_ERROR)
def test_gymnasiums_rewards_are_as_close_to_the_models_in_a_body_that_runs(name):
    """Set in motion at 2 to 8 m/s, for a second at most: from rest noise reaches no such speed."""
    env, task, rng = make_env(name), make_task(name), np.random.default_rng(0)
    rows, speeds = [], []
    for k in range(100):
        env.reset(seed=k)
        body = env.unwrapped
        position, velocity = body.data.qpos.copy(), body.data.qvel.copy()
        velocity[0] = rng.uniform(2.0, 8.0)
        body.set_state(position, velocity)
        state, smooth = body._get_obs(), np.zeros(env.action_space.shape)
        for _ in range(20):
            smooth = np.clip(0.9 * smooth + 0.4 * rng.standard_normal(smooth.shape), -1.0, 1.0)
            action = (env.action_space.high * smooth).astype(np.float32)
            following, reward, ended, _, info = env.step(action)
            rows.append((state, action, following, reward))
            speeds.append(info["x_velocity"])
            state = following
            if ended:
                break
    env.close()
    *seen, paid = (torch.tensor(np.array(x), dtype=torch.float64) for x in zip(*rows, strict=True))
    error = task.reward(*seen) - paid
    rms, mean = V5_REWARD_ERROR[name]
    assert np.mean(speeds) > 1.5
    assert error.square().mean().sqrt() < 1.5 * rms
    assert error.mean().abs() < 1.5 * mean


def test_termination_is_the_environments(recorded):
    name, task, steps = recorded
    ended = task.terminated(steps.state, steps.action, steps.next_state).numpy()
    np.testing.assert_array_equal(ended > 0, steps.terminated)
    if name in ("Hopper-v5", "Walker2d-v5", "Ant-v5"):
        assert steps.terminated.sum() > 20, "no ending was seen: nothing was tested"
    else:
        assert not steps.terminated.any()


def test_a_time_limit_is_a_truncation(recorded):
    name, _, steps = recorded
    length = 1000 if name in (*PAPER, *V5_TASKS) else 200
    if not steps.terminated.any():
        ends = np.flatnonzero(steps.truncated)
        np.testing.assert_array_equal(ends, np.arange(length - 1, len(steps.reward), length))
    assert not (steps.terminated & steps.truncated).any()


def test_sizes_are_the_environments(recorded):
    _, task, steps = recorded
    assert steps.state.shape[-1] == task.state_size
    assert steps.action.shape[-1] == task.action_size


def test_functions_broadcast_over_leading_axes(recorded):
    _, task, steps = recorded
    batch = (steps.state[:24], steps.action[:24], steps.next_state[:24])
    folded = tuple(x.reshape(2, 3, 4, -1) for x in batch)
    for function in (task.reward, task.terminated):
        value = function(*batch)
        assert value.shape == (24,)
        torch.testing.assert_close(function(*folded), value.reshape(2, 3, 4))


# The checker warns of unbounded spaces, which Gymnasium's own locomotion tasks have as well.
@pytest.mark.filterwarnings("ignore:.*Box .* space m.* value is -?infinity.*")
@pytest.mark.filterwarnings("ignore:.*recommend using a symmetric and normalized space.*")
@pytest.mark.parametrize("name", TASKS)
def test_gymnasium_accepts_the_environment(name):
    env = make_env(name)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("name", [*PAPER, *SWING_UP, *LINEAR])
def test_seeds_repeat_and_differ_and_leave_torch_alone(name):
    env = make_env(name)
    before = torch.random.get_rng_state()

    def episode(seed: int) -> np.ndarray:
        state, _ = env.reset(seed=seed)
        action = 0.3 * env.action_space.high
        return np.array([state, *(env.step(action)[0] for _ in range(5))])

    np.testing.assert_array_equal(episode(1), episode(1))
    assert not np.allclose(episode(1), episode(2))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", [*SWING_UP, *LINEAR])
def test_the_environment_steps_the_tensor_dynamics(name):
    task, env = make_task(name), make_env(name)
    state, _ = env.reset(seed=3)
    action = (0.5 * env.action_space.high).astype(np.float32)
    following, *_ = env.step(action)
    silent = ModelNoise(torch.zeros(task.state_size))
    mean = require_true(task).dynamics.step(torch.tensor(state), torch.tensor(action), silent)
    noise = 0.0 if task.lqg is None else 6 * float(np.sqrt(np.diag(require_lqg(task).W).max()))
    np.testing.assert_allclose(following, mean.numpy(), atol=1e-5 + noise)


def test_paper_rewards_by_hand():
    state = torch.zeros(1, 27)
    state[:, 0], state[:, 13] = 0.57 + 0.2, 3.0
    reward = make_task("maac_bench/Ant-v0").reward(state, torch.ones(1, 8), state)
    assert float(reward) == pytest.approx(3.0 - 0.8 - 3.0 * 0.04 + 1.0, abs=1e-6)
    state = torch.zeros(1, 17)
    state[:, 0], state[:, 8] = 5.0, 2.0
    reward = make_task("maac_bench/HalfCheetah-v0").reward(state, torch.ones(1, 6), state)
    assert float(reward) == pytest.approx(2.0 - 0.6, abs=1e-6)


@pytest.mark.parametrize("name", [*PAPER, *SWING_UP, *V5_TASKS])
def test_tasks_without_a_closed_form_are_discounted_by_the_papers_factor(name):
    assert make_task(name).discount == 0.99


def test_tasks_without_a_closed_form_say_so():
    with pytest.raises(ValueError, match="'Hopper-v5' has no exact gradient"):
        require_lqg(make_task("Hopper-v5"))
    with pytest.raises(ValueError, match="'Hopper-v5' has no tensor dynamics"):
        require_true(make_task("Hopper-v5"))
    with pytest.raises(ValueError, match="unknown task 'Humanoid-v5'; choose from"):
        make_env("Humanoid-v5")


def test_the_double_integrator_is_the_oracles():
    lqg = require_lqg(make_task("maac_bench/DoubleIntegrator-v0"))
    np.testing.assert_array_equal(lqg.A, analytic.double_integrator().A)
    assert "maac_bench/DoubleIntegrator-v0" in gym.registry


def test_making_a_cheetah_is_silent_and_other_warnings_are_one_line(tmp_path):
    code = (
        "from maac_bench.tasks import make_env; make_env('HalfCheetah-v5').close();"
        "from maac_bench.tasks.mujoco_warnings import show_warning; show_warning('odd\\nthing')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stderr == "MuJoCo: odd thing\n"
    assert list(tmp_path.iterdir()) == []  # no log file either


@pytest.mark.parametrize("name", ["HalfCheetah-v2", "maac_bench:a:b-v0"])
def test_what_gymnasium_cannot_make_is_one_line(name):
    with pytest.raises(ValueError, match=f"(unknown task|task) '{name}'"):
        make_training_task(name)


@pytest.mark.parametrize("name", ["maac_bench/DoubleIntegrator-v0", "maac_bench/RandomLQG6-v0"])
def test_linear_quadratic_tasks_refuse_another_device(name):
    task = make_task(name)
    state, action = (torch.zeros(1, k, device="meta") for k in (task.state_size, task.action_size))
    with pytest.raises(ValueError, match=f"{name} is a task of the CPU"):
        task.reward(state, action, state)
