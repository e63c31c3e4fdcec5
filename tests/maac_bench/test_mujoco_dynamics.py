"""The simulator as differentiable dynamics, against Gymnasium and against differences."""

import numpy as np
import pytest
import torch

from benchmarks.jacobians import relative_error
from maac_bench.tasks import make_env, make_task, make_training_task
from maac_bench.tasks.mujoco_dynamics import (
    central_differences,
    mujoco_dynamics,
    transition_jacobian,
)
from maac_bench.tasks.mujoco_env import PaperEnv
from maac_bench.tasks.mujoco_paper import PAPER_TASKS
from maac_bench.types import ModelNoise

NAMES = [f"maac_bench/{name}-v0" for name in PAPER_TASKS]
NOISE = ModelNoise(torch.zeros(()))


def episode(name, steps, seed=0):
    """Random steps of the environment: states, actions, next states, contacts."""
    env, rng = make_env(name), np.random.default_rng(seed)
    state, rows = env.reset(seed=seed)[0], []
    for _ in range(steps):
        action = rng.uniform(-1.0, 1.0, env.action_space.shape)
        following = env.step(action)[0]
        rows.append((state, action, following, env.unwrapped.data.ncon))
        state = following
    env.close()
    return rows


def in_the_air(name, seed):
    """A state without contacts or joint limits in reach, and an action."""
    simulator, rng = mujoco_dynamics(name).simulator, np.random.default_rng(seed)
    positions = simulator.model.nq - simulator.task.hidden
    state = np.concatenate([simulator.model.qpos0[-positions:], np.zeros(simulator.model.nv)])
    if name.startswith("maac_bench/Ant"):
        state[1:5] = rng.standard_normal(4)
        state[1:5] /= np.linalg.norm(state[1:5])
    for joint in range(simulator.model.njnt):
        if simulator.model.jnt_limited[joint]:
            place = simulator.model.jnt_qposadr[joint] - simulator.task.hidden
            state[place] = simulator.model.jnt_range[joint].mean()
    state[0] += 5.0
    state[positions:] = 0.3 * rng.standard_normal(simulator.model.nv)
    return state, rng.uniform(-0.3, 0.3, simulator.model.nu)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_the_environments(name):
    """But for the warm start of its solver: the largest difference measured is 7e-13."""
    simulator = mujoco_dynamics(name).simulator
    for state, action, following, _ in episode(name, 50):
        np.testing.assert_allclose(simulator.step(state, action), following, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_a_function_of_state_and_action(name):
    """Not of what was simulated before, nor of where the solver was left; in contact."""
    simulator, rng = mujoco_dynamics(name).simulator, np.random.default_rng(0)
    touching = [row for row in episode(name, 100) if row[3]]
    (first, a, *_), *_ = touching
    assert len(touching) > 30
    for state, action, *_ in touching:
        expected = simulator.step(state, action)
        simulator.jacobian(first, a)
        simulator.data.qacc_warmstart[:] = 1e3 * rng.standard_normal(simulator.model.nv)
        np.testing.assert_array_equal(simulator.step(state, action), expected)


def test_the_length_of_a_quaternion_means_nothing():
    """Learned or perturbed ones are not of length 1; by the length, all slopes are smaller."""
    simulator = mujoco_dynamics("maac_bench/Ant-v0").simulator
    state, action = in_the_air("maac_bench/Ant-v0", 0)
    longer = state.copy()
    longer[1:5] *= 2.0
    np.testing.assert_allclose(
        simulator.step(longer, action), simulator.step(state, action), rtol=0, atol=1e-12
    )
    by_longer, by_state = (
        simulator.jacobian(longer, action)[0],
        simulator.jacobian(state, action)[0],
    )
    np.testing.assert_allclose(2.0 * by_longer[:, 1:5], by_state[:, 1:5], rtol=0, atol=1e-6)
    assert relative_error(simulator, longer, action) < 1e-4


@pytest.mark.parametrize("broken", ["state", "speed", "action"])
def test_an_unstable_simulation_is_an_error_and_no_rest_pose(broken):
    name = "maac_bench/Hopper-v0"
    simulator = mujoco_dynamics(name).simulator
    good, action, *_ = episode(name, 3)[-1]
    state, control = good.copy(), action.copy()
    if broken == "action":
        control[1] = np.nan
    else:
        state[3 if broken == "state" else 8] = np.nan if broken == "state" else 1e11
    for go in (simulator.step, simulator.jacobian):
        with pytest.raises(FloatingPointError, match="the true simulation is unstable"):
            go(state, control)
    assert np.isfinite(simulator.step(good, action)).all(), "it goes on with another state"


def test_an_unstable_environment_has_no_observation_until_its_reset():
    env = PaperEnv("Hopper")
    env.reset(seed=0)
    env.data.qvel[2] = 1e11
    for _ in range(2):
        observation, reward, terminated, truncated, _ = env.step(np.zeros(3, np.float32))
        assert np.isnan(observation).all()
        assert np.isnan(reward)
        assert not (terminated or truncated)
    env.reset(seed=0)
    assert np.isfinite(env.step(np.zeros(3, np.float32))[0]).all()
    env.close()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_depends_on_the_global_position(name):
    simulator = mujoco_dynamics(name).simulator
    for state, action, *_ in episode(name, 30)[::6]:
        expected = simulator.step(state, action)
        simulator.place(state, action)
        simulator.data.qpos[: simulator.task.hidden] = 7.0
        for _ in range(simulator.task.frame_skip):
            simulator.advance()
        np.testing.assert_allclose(simulator.observe(), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_the_jacobian_in_the_air(name, seed):
    simulator = mujoco_dynamics(name).simulator
    state, action = in_the_air(name, seed)
    assert relative_error(simulator, state, action) < 1e-4
    assert simulator.data.nefc == 0, "a constraint is active"


@pytest.mark.parametrize("name", NAMES)
def test_the_jacobian_in_contact(name):
    """A few of the states of `benchmarks/jacobians/results.csv`."""
    simulator, rows = mujoco_dynamics(name).simulator, episode(name, 100)
    touching = [row for row in rows if row[3]][::5][:10]
    assert len(touching) >= 5
    errors = np.array([relative_error(simulator, state, action) for state, action, *_ in touching])
    assert np.mean(errors > 0.01) < 0.2
    assert np.median(errors) < 1e-6


def test_contact_forces_are_converged_beyond_the_differences():
    """With the solver's default tolerance one of these states is off by 2e-3."""
    name = "maac_bench/Walker2d-v0"
    simulator = mujoco_dynamics(name).simulator
    touching = [row for row in episode(name, 100) if row[3]][::3]
    assert max(relative_error(simulator, state, action) for state, action, *_ in touching) < 1e-4


def test_both_routes_to_the_jacobian_agree():
    """MuJoCo's own differences, and ours for the integrator that it does not support.

    At and beyond the limits of the controls, too: one-sided, and zero.
    """
    simulator = mujoco_dynamics("maac_bench/HalfCheetah-v0").simulator
    for state, action, *_ in episode("maac_bench/HalfCheetah-v0", 40)[::8]:
        for control in (action, np.sign(action), 1.5 * np.sign(action)):
            simulator.place(state, control)
            for own, theirs in zip(
                central_differences(simulator), transition_jacobian(simulator), strict=True
            ):
                atol = 1e-5 * max(1e-3, np.abs(theirs).max())
                np.testing.assert_allclose(own, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("name", NAMES)
def test_a_return_of_several_steps_is_differentiated(name, float64):
    """Backpropagated through three steps of a batch, against a difference along one direction."""
    dynamics, reward = mujoco_dynamics(name), make_task(name).reward
    rows = [in_the_air(name, seed) for seed in (0, 1)]
    start = torch.tensor(np.array([state for state, _ in rows])).unsqueeze(0)
    actions = torch.tensor(np.array([action for _, action in rows])).unsqueeze(0)
    direction = torch.tensor(np.random.default_rng(0).standard_normal(actions.shape))

    def value(shift):
        state, total = start, torch.zeros(())
        for t in range(3):
            action = actions + (t + 1.0) * shift * direction
            following = dynamics.step(state, action, NOISE)
            total = total + reward(state, action, following).sum()
            state = following
        return total

    shift = torch.zeros((), requires_grad=True)
    (slope,) = torch.autograd.grad(value(shift), shift)
    step = 1e-5
    expected = (value(torch.tensor(step)) - value(torch.tensor(-step))) / (2.0 * step)
    assert float(slope) == pytest.approx(float(expected), rel=1e-5)
    assert abs(float(slope)) > 1e-4


def test_rows_of_a_batch_are_their_own_and_keep_their_precision():
    name = "maac_bench/Hopper-v0"
    dynamics, rows = mujoco_dynamics(name), episode(name, 6)
    state, action = (
        torch.tensor(np.array([row[i] for row in rows]), dtype=torch.float32).reshape(2, 3, -1)
        for i in (0, 1)
    )
    following = dynamics.step(state, action, NOISE)
    assert following.dtype == torch.float32
    expected = np.array([row[2] for row in rows]).reshape(2, 3, -1)
    np.testing.assert_allclose(following.numpy(), expected, atol=1e-4)
    state.requires_grad_()
    (gradient,) = torch.autograd.grad(dynamics.step(state, action, NOISE)[1, 2].sum(), state)
    assert gradient[1, 2].any()
    assert not gradient[0].any()
    assert not gradient[1, :2].any()


@pytest.mark.parametrize("name", NAMES)
def test_actions_need_no_scaling(name):
    """An agent's actions, in (-1, 1), are the simulator's controls."""
    simulator = mujoco_dynamics(name).simulator
    np.testing.assert_array_equal(simulator.model.actuator_ctrlrange[:, 1], 1.0)
    training = make_training_task(name)
    assert training.task.action_size == simulator.model.nu
    assert training.task.state_size == simulator.task.sizes[0]


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "HalfCheetah", "maac_bench/Pendulum-v0"])
def test_other_tasks_are_refused(name):
    with pytest.raises(ValueError, match=f"task '{name}' has no true dynamics"):
        mujoco_dynamics(name)
