"""A user's own environments, and what an agent's actions are in them."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import PendulumEnv

from analytic import double_integrator
from maac_bench.tasks import TASKS, Task, _register, make_task, make_training_task
from maac_bench.tasks.training import action_scale, with_unit_actions
from maac_bench.types import ModelNoise


@pytest.mark.parametrize("name", ["maac_bench/Pendulum", "HalfCheetah", "Ant"])
def test_a_task_without_its_version_is_not_guessed(name, recwarn):
    with pytest.raises(ValueError, match=rf"unknown task '{name}'.*say which version: .*{name}-v"):
        make_training_task(name)
    assert not recwarn


def test_the_command_finds_a_module_in_the_working_directory(tmp_path):
    (tmp_path / "my_module.py").write_text(
        "import gymnasium as gym\n"
        "gym.register('Mine-v0', 'gymnasium.envs.classic_control:PendulumEnv',"
        " max_episode_steps=50)\n"
    )
    code = "from maac_bench.tasks import make_training_task as make; print(make('{}').steps)"
    for name, status in (("my_module:Mine-v0", 0), ("my_module:Mine", 1)):
        # Like the installed command, a script elsewhere: Python looks in its folder, not in this.
        script = tmp_path / "bin" / "script.py"
        script.parent.mkdir(exist_ok=True)
        script.write_text(code.format(name))
        result = subprocess.run(
            [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert result.returncode == status, result.stderr
    assert "say which version: Mine-v0" in result.stderr


def test_functions_of_a_users_module_are_used_from_the_first_time_on(tmp_path, monkeypatch):
    """The module adds the row when it is imported, which is when its task is asked for."""
    (tmp_path / "row_module.py").write_text(
        "import gymnasium as gym\nimport torch\n"
        "from maac_bench.tasks import TASKS, Task\n"
        "gym.register('Row-v0', 'gymnasium.envs.classic_control:PendulumEnv',"
        " max_episode_steps=50)\n"
        "def reward(state, action, next_state):\n    return next_state[..., 0]\n"
        "def never(state, action, next_state):\n    return torch.zeros_like(state[..., 0])\n"
        "TASKS['row_module:Row-v0'] = lambda: Task('row_module:Row-v0', 3, 1, 0.9, reward, never)\n"
    )
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        task = make_training_task("row_module:Row-v0")
        assert (task.learns_outcome, task.task.discount, task.steps) == (False, 0.9, 50)
    assert isinstance(task.make().unwrapped, PendulumEnv)
    del TASKS["row_module:Row-v0"], gym.registry["Row-v0"]


def test_what_a_users_module_lacks_is_named(tmp_path, monkeypatch):
    (tmp_path / "lacking_module.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"cannot be made: its module needs 'no_such_package'$"):
        make_training_task("lacking_module:Any-v0")
    with pytest.raises(ValueError, match="unknown task 'no_such_module:Any-v0'"):
        make_training_task("no_such_module:Any-v0")


def test_an_environment_that_fails_to_start_says_so():
    def broken(**options):
        raise AttributeError("no such robot")

    gym.register("Broken-v0", entry_point=broken)
    with pytest.raises(ValueError, match="cannot be made: AttributeError: no such robot"):
        make_training_task("Broken-v0")
    del gym.registry["Broken-v0"]


@pytest.mark.parametrize("name", ["maac_bench/HalfCheetah-v0", "HalfCheetah-v5", "Pendulum-v1"])
def test_a_task_whose_environment_cannot_be_made_is_not_called_unknown(monkeypatch, name):
    def broken(**_):
        raise gym.error.DependencyNotInstalled("no simulator")

    monkeypatch.setattr(gym.spec(name), "entry_point", broken)
    with pytest.raises(ValueError, match=r"cannot be made: DependencyNotInstalled: no simulator$"):
        make_training_task(name)


def never(_state, _action, next_state):
    return torch.zeros_like(next_state[..., 0], dtype=torch.bool)


def angle(_state, _action, next_state):
    return next_state[..., 0]


def test_functions_for_an_environment_of_gymnasiums_leave_it_alone(monkeypatch, recwarn):
    """A row without dynamics of its own: the environment is the one of that name."""
    row = Task("Pendulum-v1", 3, 1, 0.99, angle, never)
    monkeypatch.setitem(TASKS, "Pendulum-v1", lambda: row)
    monkeypatch.setitem(TASKS, "elsewhere:Mine-v0", lambda: row)
    registered = dict(gym.registry)
    _register()
    assert dict(gym.registry) == registered
    assert not recwarn
    task = make_training_task("Pendulum-v1")
    assert not task.learns_outcome
    assert isinstance(task.make().unwrapped, PendulumEnv)
    state = torch.tensor([[0.5, 0.1, 0.2]])
    assert task.task.reward(state, state[:, :1], state).tolist() == [0.5]


@pytest.mark.parametrize(
    "space", [gym.spaces.Box(-2, 2, (1,), np.int32), gym.spaces.Discrete(3)], ids=["whole", "few"]
)
def test_actions_that_are_not_continuous_are_refused(space):
    class Steps(PendulumEnv):
        def __init__(self, **options):
            super().__init__(**options)
            self.action_space = space

    gym.register("Steps-v0", entry_point=Steps, max_episode_steps=10)
    with pytest.raises(ValueError, match="'Steps-v0' needs continuous actions in one vector"):
        make_training_task("Steps-v0")
    del gym.registry["Steps-v0"]


def test_actions_of_an_agent_are_scaled_to_the_environments():
    low, high = np.array([-2.0, 0.0], np.float32), np.array([4.0, 1.0], np.float32)
    scale = action_scale(gym.spaces.Box(low, high), "any")
    for unit, value in ((-1.0, low), (0.0, [1.0, 0.5]), (1.0, high)):
        assert scale(torch.full((2,), unit)).tolist() == list(value)
    task = make_task("maac_bench/Pendulum-v0")._replace(
        reward=lambda state, action, following: action.sum(dim=-1),
        terminated=lambda state, action, following: (action[..., 0] > 3.0).float(),
    )
    seen = with_unit_actions(task, scale)
    top = torch.ones(2)
    assert float(seen.reward(top, top, top)) == 5.0
    assert float(seen.terminated(top, top, top)) == 1.0
    assert float(seen.terminated(top, 0.5 * top, top)) == 0.0


def test_an_agent_sees_the_true_dynamics_of_its_own_actions():
    """They step as the environment does, whose actions are five times as large."""
    training = make_training_task("maac_bench/DoubleIntegrator-v0")
    env, action = training.make(), np.array([0.3], np.float32)
    true, errors = training.task.true.dynamics, []
    state = torch.tensor(env.reset(seed=1)[0])
    for _ in range(200):
        found = true.step(state, torch.tensor(action), ModelNoise(torch.zeros(2)))
        state = torch.tensor(env.step(action)[0])
        errors.append(state - found)
    noise = torch.stack(errors).double()
    W = torch.tensor(double_integrator().W)
    assert (noise.mean(dim=0).abs() < 5.0 * (W.diagonal() / 200).sqrt() + 1e-6).all()
    still, pushed = (true.step(state, torch.full((1,), a), ModelNoise(0 * state)) for a in (0, 1.0))
    torch.testing.assert_close(pushed - still, 5.0 * true.dynamics.B[:, 0])
    assert true.members == 0
