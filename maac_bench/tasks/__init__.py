"""Tasks by name. A new task is one file and one row of `TASKS`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from analytic import double_integrator, random_lqg
from maac_bench.names import import_module_of, lookup, make, module_file
from maac_bench.tasks.base import Task, TensorDynamics, never, require_lqg, require_true
from maac_bench.tasks.drawing import cart_pole_lines, double_integrator_lines, pendulum_lines
from maac_bench.tasks.gymnasium_v5 import V5_OPTIONS, V5_TASKS, v5_task
from maac_bench.tasks.linear_quadratic import (
    LinearGaussianDynamics,
    linear_dynamics,
    linear_quadratic_task,
)
from maac_bench.tasks.mujoco_paper import EPISODE_STEPS, PAPER_TASKS, paper_task
from maac_bench.tasks.mujoco_warnings import install as _install_warnings
from maac_bench.tasks.own import (
    remarks,
    repetition_remarks,
    require_fitting,
    require_its_lqg,
    require_whole,
)
from maac_bench.tasks.swing_up import CART_POLE, PENDULUM, cart_pole_task, pendulum_task
from maac_bench.tasks.tensor_env import TensorEnv
from maac_bench.tasks.training import (
    action_scale,
    is_unit,
    state_size,
    unknown,
    with_unit_actions,
)

__all__ = [
    "TASKS",
    "LinearGaussianDynamics",
    "Task",
    "TensorDynamics",
    "TrainingTask",
    "linear_dynamics",
    "linear_quadratic_task",
    "make_env",
    "make_task",
    "make_training_task",
    "never",
    "own_remarks",
    "require_its_lqg",
    "require_lqg",
    "require_true",
]

DOUBLE_INTEGRATOR = "maac_bench/DoubleIntegrator-v0"


def _random_lqg_task(n: int, m: int) -> Task:
    # The matrices are part of the task's name: other matrices, other name.
    lqg = random_lqg(n, m, np.random.default_rng(n))
    return linear_quadratic_task(f"maac_bench/RandomLQG{n}-v0", lqg)


TASKS: dict[str, Callable[[], Task]] = {
    DOUBLE_INTEGRATOR: lambda: linear_quadratic_task(DOUBLE_INTEGRATOR, double_integrator()),
    "maac_bench/RandomLQG6-v0": partial(_random_lqg_task, 6, 2),
    "maac_bench/RandomLQG20-v0": partial(_random_lqg_task, 20, 4),
    PENDULUM: pendulum_task,
    CART_POLE: cart_pole_task,
    **{f"maac_bench/{name}-v0": partial(paper_task, name) for name in PAPER_TASKS},
    **{name: partial(v5_task, name) for name in V5_TASKS},
}

# Linear-quadratic actions have no natural limit; this one leaves an optimal policy alone.
_ACTION_LIMITS = {PENDULUM: 1.0, CART_POLE: 1.0}
_LINES = {
    PENDULUM: pendulum_lines,
    CART_POLE: cart_pole_lines,
    DOUBLE_INTEGRATOR: double_integrator_lines,
}
_TENSOR_EPISODE_STEPS = 200


def make_task(name: str) -> Task:
    """The task of that name, also the user's own; ValueError naming the known ones otherwise."""
    task = make("task", name, TASKS, Task)
    if ":" in name:
        require_whole(task, name)
    return task


def make_env(name: str, **options: Any) -> gym.Env[Any, Any]:  # noqa: ANN401
    """The task's Gymnasium environment, with its time limit.

    Args:
        name: see `TASKS`.
        options: for `gymnasium.make`, such as render_mode.
    """
    lookup("task", name, TASKS)
    if ":" in name and (made := _made_of_row(name)):
        return gym.make(made, **options)
    return gym.make(name, **V5_OPTIONS.get(name, {}), **options)


class TrainingTask(NamedTuple):
    """A task as an agent sees it: actions in [-1, 1].

    task: model-side functions. make: its environment, with options for `gymnasium.make`. steps:
    the time limit of an episode. learns_outcome: reward and termination have to be learned.
    """

    task: Task
    make: Callable[..., gym.Env[Any, Any]]
    steps: int
    learns_outcome: bool = False


def make_training_task(name: str) -> TrainingTask:
    """A task with actions scaled to [-1, 1]: one of `TASKS` or any environment of Gymnasium's.

    For an environment of the user's own, `module:Name-v0` imports the module that registers it.
    If that adds a row of the same name to `TASKS`, its functions are used, else they are learned.

    Raises:
        ValueError: unknown task, or one without a time limit, or with other spaces than vectors.
    """
    with _gymnasium_speaking(name):
        import_module_of(name)
    task = make_task(name) if name in TASKS else None
    with _gymnasium_speaking(name):
        if task is None:
            _require_version(name)
        env = gym.make(name) if task is None else make_env(name)
    steps = env.spec.max_episode_steps if env.spec is not None else None
    if steps is None:
        raise ValueError(f"task {name!r} has no time limit: register it with max_episode_steps")
    size = state_size(env.observation_space, name)
    scale, unit = action_scale(env.action_space, name), is_unit(env.action_space)
    env.close()

    def make(**options: Any) -> gym.Env[Any, Any]:  # noqa: ANN401
        options = {"disable_env_checker": True, **options}
        env = gym.make(name, **options) if task is None else make_env(name, **options)
        return env if unit else gym.wrappers.RescaleAction(env, np.float32(-1.0), np.float32(1.0))

    if task is None:
        learned = Task(name, size, len(scale.center), 0.99, unknown, unknown)
        return TrainingTask(learned, make, steps, learns_outcome=True)
    if ":" in name:
        require_fitting(task, name, size, len(scale.center))
    return TrainingTask(task if unit else with_unit_actions(task, scale), make, steps)


@contextmanager
def _gymnasium_speaking(name: str) -> Iterator[None]:
    """Whatever Gymnasium or the user's module raises, in one line."""
    try:
        yield
    except (gym.error.Error, ModuleNotFoundError) as error:
        absent, module = getattr(error, "name", None), name.partition(":")[0]
        if absent and not f"{module}.".startswith(f"{absent}."):
            raise ValueError(
                f"task {name!r} cannot be made: its module needs {absent!r}"
            ) from error
        if name.rpartition(":")[2] in gym.registry:
            raise _cannot_be_made(name, error) from error
        where = f" of {module_file(name)}" if ":" in name and not absent else ""
        if name in TASKS:
            raise ValueError(
                f"task {name!r}{where} has no environment: not registered with Gymnasium "
                f"({error}), and its row has no true dynamics to make one of"
            ) from error
        raise ValueError(
            f"unknown task {name!r}{where}: not registered with Gymnasium ({error}), "
            f"and none of {', '.join(TASKS)}"
        ) from error
    except (Exception, SystemExit) as error:
        raise _cannot_be_made(name, error) from error


def _cannot_be_made(name: str, error: BaseException) -> ValueError:
    return ValueError(f"task {name!r} cannot be made: {type(error).__name__}: {error}")


def own_remarks(training: TrainingTask) -> list[str]:
    """What to know of an environment that is not of this package, and its row, a line each.

    Raises:
        ValueError: one of the row's functions cannot be used.
    """
    name = training.task.name
    if ":" not in name and not training.learns_outcome:
        return []
    lines = []
    if not training.learns_outcome and _made_of_row(name):
        lines.append(
            f"no environment of {name} is registered: it is made of its row, {training.steps} "
            "steps long, with actions within ±5"
        )
    env = training.make()
    try:
        lines += repetition_remarks(name, env)
        return lines if training.learns_outcome else [*lines, *remarks(training.task, env)]
    finally:
        env.close()


def _require_version(name: str) -> None:
    """ValueError where Gymnasium would choose a version by itself, and so perhaps another task."""
    identifier = name.rpartition(":")[2]
    versions = [known for known in gym.registry if known.rpartition("-v")[0] == identifier]
    if identifier not in gym.registry and versions:
        raise gym.error.UnregisteredEnv(f"say which version: {', '.join(versions)}")


def _tensor_env(name: str, **options: Any) -> TensorEnv:  # noqa: ANN401
    limit = _ACTION_LIMITS.get(name, 5.0)
    return TensorEnv(make_task(name), limit, _LINES.get(name), **options)


def _made_of_row(name: str) -> str | None:
    """Gymnasium's name for the environment of a row of the user's, if it is made of the row.

    That is one with dynamics, for which the user's module registers no environment.
    """
    identifier = name.rpartition(":")[2]
    if make_task(name).true is None or identifier in gym.registry:
        return None
    base = identifier.rpartition("-v")[0] or identifier
    if versions := [known for known in gym.registry if known.rpartition("-v")[0] == base]:
        raise ValueError(f"the row of task {name!r} is of no version of {', '.join(versions)}")
    # With the module in it: two modules may have rows of one name.
    plain = re.sub(r"[^\w-]", "-", name)
    made = f"maac-bench-row/{plain}"
    if made not in gym.registry:
        gym.register(made, partial(_tensor_env, name), max_episode_steps=_TENSOR_EPISODE_STEPS)
    return made


def _register() -> None:
    for name in TASKS:
        if name in gym.registry or ":" in name:  # an environment of Gymnasium's or the user's
            continue
        short = name.removeprefix("maac_bench/").removesuffix("-v0")
        if short in PAPER_TASKS:
            gym.register(
                name,
                "maac_bench.tasks.mujoco_env:PaperEnv",
                max_episode_steps=EPISODE_STEPS,
                kwargs={"task": short},
            )
        else:
            gym.register(name, partial(_tensor_env, name), max_episode_steps=_TENSOR_EPISODE_STEPS)


_register()
_install_warnings()
