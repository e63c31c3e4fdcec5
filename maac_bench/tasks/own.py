"""Whether a row that a user wrote says what the environment does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analytic import LQG
from maac_bench.tasks.base import Task, TensorDynamics, require_lqg, require_true
from maac_bench.tasks.tensor_env import TensorEnv
from maac_bench.types import Dynamics, ModelNoise, Transition

_STEPS = 200
_REPEATED = 10
_SEED = 0
# Of the largest reward: rounding to float32 does not count.
_TOLERANCE = 1e-3
# Of the distance that a feature moves: integrated with other steps is another simulator.
_SHARE = 1e-2
# Of the largest value of a feature: what float32 does to one that hardly moves.
_ROUNDING = 1e-6
# Differences that are none, whatever the scale.
_NOTHING = 1e-6


def require_whole(task: Task, name: str) -> None:
    """ValueError naming what of a row is none of the things that a task is made of."""
    if task.name != name:
        raise ValueError(f"the row of task {name!r} says name {task.name!r}, it is {name!r}")
    for field, kind in (("true", TensorDynamics), ("lqg", LQG)):
        found = getattr(task, field)
        if not isinstance(found, kind | None):
            raise ValueError(
                f"the row of task {name!r} needs {kind.__name__} or None as {field}, it has "
                f"{type(found).__name__}"
            )
    if task.lqg is not None:
        states, actions = task.lqg.B.shape
        _require_said(
            name,
            "its lqg",
            ("state_size", task.state_size, states),
            ("action_size", task.action_size, actions),
            ("discount", task.discount, task.lqg.gamma),
        )


def require_its_lqg(task: Task) -> None:
    """ValueError where a row's functions are not those of its closed form, on random numbers."""
    lqg, true, name = require_lqg(task), require_true(task), task.name
    matrices = (lqg.A, lqg.B, lqg.Q, lqg.R, lqg.W)
    A, B, Q, R, W = (torch.tensor(matrix, dtype=torch.float32) for matrix in matrices)
    generator = torch.Generator().manual_seed(_SEED)
    draws = torch.randn(2, _STEPS // 2, lqg.n + lqg.m, generator=generator, dtype=torch.float32)
    state, action = draws.split([lqg.n, lqg.m], dim=-1)
    normal = torch.randn(state.shape, generator=generator, dtype=torch.float32)
    following = state @ A.mT + action @ B.mT
    inputs = (state, action, following)
    paid = -((state @ Q) * state).sum(dim=-1) - ((action @ R) * action).sum(dim=-1)
    # From rest each unit of noise leads to a column of the factor of its covariance.
    units = torch.eye(lqg.n, dtype=torch.float32)
    rest = (torch.zeros_like(units), units.new_zeros(lqg.n, lqg.m), units)
    factor = _next_states(true.dynamics, name, rest, units)
    noisy = _next_states(true.dynamics, name, inputs, normal)
    for what, found, exact in (
        ("reward", _values(task, "reward", inputs), paid),
        ("termination", _values(task, "terminated", inputs), torch.zeros_like(paid)),
        ("true dynamics", _next_states(true.dynamics, name, inputs), following),
        ("noise of the true dynamics", factor.mT @ factor, W),
        ("noise of the true dynamics", noisy, following + normal @ factor),
    ):
        if not (found - exact).abs().max() <= _TOLERANCE * exact.abs().max() + _NOTHING:
            raise ValueError(f"the {what} of the row of task {name!r} is not that of its lqg")


def require_fitting(task: Task, name: str, state_size: int, action_size: int) -> None:
    """ValueError naming what of a row does not fit its environment's spaces."""
    _require_said(
        name,
        "its environment",
        ("state_size", task.state_size, state_size),
        ("action_size", task.action_size, action_size),
    )
    discount: object = task.discount
    # NumPy's numbers, too; a truth value is a number to Python.
    number = not isinstance(discount, bool) and isinstance(discount, Real)
    if not number or not 0 <= float(task.discount) < 1:
        raise ValueError(
            f"the row of task {name!r} has the discount {discount!r}, which is no number in [0, 1)"
        )


def _require_said(name: str, where: str, *fields: tuple[str, object, object]) -> None:
    """ValueError naming the first field that a row has otherwise than what it belongs to."""
    for field, own, theirs in fields:
        if own != theirs:
            raise ValueError(
                f"the row of task {name!r} says {field} {own!r}, {where} has {theirs!r}"
            )


def repetition_remarks(name: str, env: gym.Env[Any, Any]) -> list[str]:
    """A line if the environment does not repeat its first steps from a seed with their actions."""
    try:
        env.action_space.seed(_SEED)
        actions = [env.action_space.sample() for _ in range(_REPEATED)]
        first, second = (_played(env, actions) for _ in range(2))
    except Exception:  # training says what fails, and where
        return []
    if _same(first, second):
        return []
    where = "on the way" if _same(first[:1], second[:1]) else "at the start"
    return [
        f"{name} does not repeat itself from a seed with the same actions (it differs {where}): "
        "neither do its runs, and an interrupted one is not resumed exactly"
    ]


def _played(env: gym.Env[Any, Any], actions: Sequence[object]) -> list[NDArray[np.float32]]:
    """What it gives from the reset on, until it ends: the state, then reward and end as well."""
    given = [np.array(env.reset(seed=_SEED)[0], np.float32).ravel()]
    for action in actions:
        state, reward, terminated, truncated, _ = env.step(action)
        parts = (state, reward, terminated, truncated)
        given.append(np.concatenate([np.array(part, np.float32).ravel() for part in parts]))
        if terminated or truncated:
            break
    return given


def _same(one: Sequence[NDArray[np.float32]], other: Sequence[NDArray[np.float32]]) -> bool:
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(np.array_equal(*pair, equal_nan=True) for pair in pairs)


def remarks(task: Task, env: gym.Env[Any, Any]) -> list[str]:
    """What is wrong with a row's functions on random steps of the environment, a line each.

    Args:
        task: the row.
        env: takes actions in the units that the row's functions take.

    Raises:
        ValueError: a function fails, or does not give one number per transition; or the environment
            cannot be stepped.
    """
    try:
        data = _random_steps(env)
    except Exception as error:  # whatever the environment raises
        raise ValueError(
            f"task {task.name!r} fails in its first {_STEPS} random steps: "
            f"{type(error).__name__}: {error}"
        ) from error
    # With leading axes, and gradients asked for, as an imagined step calls them.
    inputs = tuple(x.requires_grad_() for x in (data.state, data.action, data.next_state))
    lines = []
    reward = _values(task, "reward", inputs)
    if not reward.requires_grad and len(reward.nan_to_num().unique()) > 1:
        lines.append(
            f"no gradient flows through the reward of {task.name}'s row: an actor that is "
            "differentiated through the model does not see it; it is constant in pieces, or not "
            "computed with torch from the tensors that it is given"
        )
    reward = reward.detach()
    rms = float((reward - data.reward).square().mean().sqrt())
    spread = float(data.reward.std())
    if not rms <= _TOLERANCE * float(data.reward.abs().max()) + _NOTHING:
        lines.append(
            f"the reward of {task.name}'s row differs from the environment's by {rms:.3g} (root "
            f"mean square over {_STEPS} random steps, whose rewards vary by {spread:.3g}): "
            "imagined steps are paid by the row's"
        )
    ended = _values(task, "terminated", inputs) > 0.5
    wrong = int((ended != (data.terminated > 0.5)).sum())
    if wrong:
        lines.append(
            f"the termination of {task.name}'s row is not the environment's at {wrong} of {_STEPS} "
            "random steps"
        )
    # An environment that is made of the row steps with the row's dynamics, and with their noise.
    if task.true is not None and not isinstance(env.unwrapped, TensorEnv):
        lines += _dynamics_remarks(task.true.dynamics, task.name, inputs)
    return lines


def _dynamics_remarks(dynamics: Dynamics, name: str, inputs: tuple[Tensor, ...]) -> list[str]:
    """Which feature of the next state is furthest from the environment's, if one is too far."""
    found = _next_states(dynamics, name, inputs).detach()
    state, following = inputs[0].detach(), inputs[2].detach()
    rms = (found - following).square().mean(dim=(0, 1)).sqrt()
    moved = (following - state).square().mean(dim=(0, 1)).sqrt()
    excess = rms / (_SHARE * moved + _ROUNDING * following.abs().amax(dim=(0, 1)) + _NOTHING)
    worst = int(excess.nan_to_num(nan=math.inf).argmax())
    if excess[worst] <= 1.0:
        return []
    return [
        f"the true dynamics of {name}'s row, without their noise, differ from the environment's by "
        f"{float(rms[worst]):.3g} in feature {worst} of the state (root mean square over {_STEPS} "
        f"random steps, in which it moves by {float(moved[worst]):.3g}): gradient-error follows "
        "the row's"
    ]


def _next_states(
    dynamics: Dynamics, name: str, inputs: tuple[Tensor, ...], noise: Tensor | None = None
) -> Tensor:
    """Where the row's true dynamics lead, without noise if none is given, [..., N, n]."""
    state, action, _ = inputs
    where = f"the true dynamics of the row of task {name!r}"
    try:
        found = dynamics.step(
            state, action, ModelNoise(torch.zeros_like(state) if noise is None else noise)
        )
    except Exception as error:  # whatever the user's function raises
        raise ValueError(f"{where} fail on tensors: {type(error).__name__}: {error}") from error
    if not isinstance(found, Tensor) or found.shape != state.shape:
        what = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"{where} must give next states of the states' shape {list(state.shape)}; they gave "
            f"{what}"
        )
    return found


def _values(task: Task, field: str, inputs: tuple[Tensor, ...]) -> Tensor:
    """One of the row's functions on a batch, [..., N]."""
    where = f"the {field} of the row of task {task.name!r}"
    try:
        found = getattr(task, field)(*inputs)
    except Exception as error:  # whatever the user's function raises
        raise ValueError(f"{where} fails on tensors: {type(error).__name__}: {error}") from error
    shape = tuple(inputs[0].shape[:-1])
    if not isinstance(found, Tensor) or tuple(found.shape) != shape:
        what = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"{where} must give a tensor with a number per transition, {list(shape)} for states "
            f"{list(inputs[0].shape)}; it gave {what}"
        )
    if not found.is_floating_point():
        raise ValueError(f"{where} must give floating-point numbers; it gave {found.dtype}")
    return found


def _random_steps(env: gym.Env[Any, Any]) -> Transition:
    """Transitions of uniform actions, [2, N/2, ...] each."""
    env.action_space.seed(_SEED)
    state, _ = env.reset(seed=_SEED)
    rows = []
    for _step in range(_STEPS):
        action, before = env.action_space.sample(), np.array(state)
        following, reward, terminated, truncated, _ = env.step(action)
        # Copies: an environment may hand out the array that it goes on changing.
        paid, ended = (np.asarray(value, np.float32).item() for value in (reward, terminated))
        rows.append((before, action, paid, np.array(following), ended))
        state = env.reset()[0] if terminated or truncated else following
    columns = (np.asarray(column, np.float32) for column in zip(*rows, strict=True))
    tables = map(torch.from_numpy, columns)
    return Transition(*(table.reshape(2, _STEPS // 2, *table.shape[1:]) for table in tables))
