"""The paper's MuJoCo tasks as differentiable dynamics: the simulator's step and its Jacobian.

A state is the observation `[qpos without its hidden entries, qvel]`. The hidden entries, the global
position, are set to 0: nothing depends on them. Jacobians are chained over the simulation steps of
one action in the tangent space of the positions, where a rotation has three coordinates.

Contacts make the step stiff and, at touch-down, not smooth; how far the Jacobian can be trusted
there is tested in tests/maac_bench/test_mujoco_dynamics.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import gymnasium.envs.mujoco
import mujoco  # type: ignore[import-untyped]
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maac_bench.tasks.mujoco_env import is_unstable
from maac_bench.tasks.mujoco_paper import PAPER_TASKS, PaperTask
from maac_bench.types import ModelNoise

Array: TypeAlias = NDArray[np.float64]

EPSILON = 1e-6
# Differences of 1e-6 need contact forces that are converged well beyond that.
SOLVER_ITERATIONS, SOLVER_TOLERANCE = 200, 1e-14
_PREFIX, _SUFFIX = "maac_bench/", "-v0"
_ROTATION = slice(3, 7)  # the quaternion of a free joint in qpos; its angles are qvel[3:6]


class Simulator(NamedTuple):
    """One task's simulation. model and data: MuJoCo's (data is scratch); task: its row."""

    model: Any
    data: Any
    task: PaperTask

    @property
    def rotates(self) -> bool:
        """Whether the positions begin with a free joint, which holds a quaternion."""
        return bool(self.model.nq != self.model.nv)

    def place(self, state: Array, action: Array) -> None:
        """Put the simulation into a state: hidden positions 0.

        The simulator normalises a quaternion itself; the chart needs its length as it is.
        """
        positions = self.model.nq - self.task.hidden
        self.data.qpos[: self.task.hidden] = 0.0
        self.data.qpos[self.task.hidden :] = state[:positions]
        self.data.qvel[:] = state[positions:]
        self.data.ctrl[:] = action
        self.data.time = 0.0
        self.data.warning.number[:] = 0

    def advance(self) -> None:
        """One simulation step, a function of position, velocity and control alone."""
        self.data.qacc_warmstart[:] = 0.0
        mujoco.mj_step(self.model, self.data)

    def observe(self) -> Array:
        """The state the simulation is in, [n]; FloatingPointError if it has become unstable."""
        if is_unstable(self.data):
            raise FloatingPointError(
                "the true simulation is unstable: a position, velocity, acceleration or control "
                "is not finite or too large"
            )
        return np.concatenate([self.data.qpos[self.task.hidden :], self.data.qvel])

    def step(self, state: Array, action: Array) -> Array:
        """The state after one action, [n]."""
        self.place(state, action)
        for _ in range(self.task.frame_skip):
            self.advance()
        return self.observe()

    def jacobian(self, state: Array, action: Array) -> tuple[Array, Array]:
        """Derivative of `step` with respect to state [n, n] and action [n, m].

        Chain rule over the simulation steps, `dx_tp1 = A_t dx_t + B_t da` for one constant action.
        """
        self.place(state, action)
        chart_in = self._chart()
        by_state = np.eye(2 * self.model.nv)
        by_action = np.zeros((2 * self.model.nv, self.model.nu))
        for _ in range(self.task.frame_skip):
            A, B = transition_jacobian(self)
            by_state, by_action = A @ by_state, A @ by_action + B
            self.advance()
        self.observe()
        chart_out = self._chart()
        # A chart's columns are orthogonal, so its pseudo-inverse maps coordinates to the tangent.
        return chart_out @ by_state @ np.linalg.pinv(chart_in), chart_out @ by_action

    def _chart(self) -> Array:
        """Derivative of the observation with respect to tangent coordinates, [n, 2 nv].

        A quaternion moves by `dq = q (0, w) / 2` for a small rotation w in the body's frame.
        """
        nq, nv = self.model.nq, self.model.nv
        positions = np.zeros((nq, nv))
        if self.rotates:
            w, x, y, z = self.data.qpos[_ROTATION]
            rotation = 0.5 * np.array([[-x, -y, -z], [w, -z, y], [z, w, -x], [-y, x, w]])
            positions[:3, :3] = np.eye(3)
            positions[_ROTATION, 3:6] = rotation
            positions[7:, 6:] = np.eye(nv - 6)
        else:
            positions[:] = np.eye(nv)
        chart = np.zeros((self.task.sizes[0], 2 * nv))
        chart[: nq - self.task.hidden, :nv] = positions[self.task.hidden :]
        chart[nq - self.task.hidden :, nv:] = np.eye(nv)
        return chart


def transition_jacobian(simulator: Simulator) -> tuple[Array, Array]:
    """`A = dx'/dx` [2 nv, 2 nv] and `B = dx'/du` [2 nv, nu] of one simulation step, centred.

    MuJoCo's own differences, but for the Runge-Kutta integrator, which they do not support.
    """
    model, data = simulator.model, simulator.data
    if model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4:
        return central_differences(simulator)
    A, B = np.zeros((2 * model.nv, 2 * model.nv)), np.zeros((2 * model.nv, model.nu))
    data.qacc_warmstart[:] = 0.0
    mujoco.mjd_transitionFD(model, data, EPSILON, True, A, B, None, None)
    return A, B


def central_differences(simulator: Simulator) -> tuple[Array, Array]:
    """The same for any integrator: every tangent coordinate moved by +-EPSILON."""
    model, data, nv = simulator.model, simulator.data, simulator.model.nv
    qpos, qvel, ctrl = data.qpos.copy(), data.qvel.copy(), data.ctrl.copy()

    def ahead(direction: Array) -> tuple[Array, Array]:
        data.qpos[:], data.qvel[:] = qpos, qvel + direction[nv : 2 * nv]
        mujoco.mj_integratePos(model, data.qpos, direction[:nv], 1.0)
        data.ctrl[:] = ctrl + direction[2 * nv :]
        simulator.advance()
        return data.qpos.copy(), data.qvel.copy()

    low, high = _within_limits(model, ctrl)
    columns = np.zeros((2 * nv, 2 * nv + model.nu))
    for i, direction in enumerate(np.eye(2 * nv + model.nu)):
        back, forth = (low[i - 2 * nv], high[i - 2 * nv]) if i >= 2 * nv else (-EPSILON, EPSILON)
        if back == forth:
            continue  # a control beyond its limit: nothing depends on it
        (q_low, v_low), (q_high, v_high) = ahead(back * direction), ahead(forth * direction)
        moved = np.zeros(nv)
        mujoco.mj_differentiatePos(model, moved, forth - back, q_low, q_high)
        columns[:nv, i], columns[nv:, i] = moved, (v_high - v_low) / (forth - back)
    data.qpos[:], data.qvel[:], data.ctrl[:] = qpos, qvel, ctrl
    return columns[:, : 2 * nv], columns[:, 2 * nv :]


def _within_limits(model: Any, ctrl: Array) -> tuple[Array, Array]:  # noqa: ANN401
    """How far each control can be moved down and up, at most EPSILON, before it is clamped."""
    limits = np.where(
        model.actuator_ctrllimited[:, None], model.actuator_ctrlrange, [-np.inf, np.inf]
    )
    shifts = np.clip(ctrl + EPSILON * np.array([[-1.0], [1.0]]), limits[:, 0], limits[:, 1])
    low, high = shifts - np.clip(ctrl, limits[:, 0], limits[:, 1])
    return low, high


class MujocoDynamics(NamedTuple):
    """The true dynamics of one of `PAPER_TASKS`, differentiable, one row after the other."""

    simulator: Simulator

    @property
    def members(self) -> int:
        """A single model."""
        return 0

    def step(self, state: Tensor, action: Tensor, noise: ModelNoise) -> Tensor:
        """The next state, [..., n], in the state's precision; the noise is not used."""
        return _step(state, action, self.simulator)


class _Step(torch.autograd.Function):
    """The simulator's step; the Jacobian is only computed where a gradient is asked for."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, action: Tensor, simulator: Simulator) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(state, action)
        ctx.simulator = simulator
        rows = [simulator.step(s, a) for s, a in zip(*_rows(state, action), strict=True)]
        return torch.tensor(np.array(rows), dtype=state.dtype).reshape(state.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401
        state, action = ctx.saved_tensors
        by_state, by_action = [], []
        for s, a, g in zip(*_rows(state, action, gradient), strict=True):
            A, B = ctx.simulator.jacobian(s, a)
            by_state.append(g @ A)
            by_action.append(g @ B)
        return (
            torch.tensor(np.array(by_state), dtype=state.dtype).reshape(state.shape),
            torch.tensor(np.array(by_action), dtype=action.dtype).reshape(action.shape),
            None,
        )


_step: Callable[[Tensor, Tensor, Simulator], Tensor] = _Step.apply


def mujoco_dynamics(name: str) -> MujocoDynamics:
    """The true dynamics of the task `maac_bench/<Body>-v0`; ValueError for any other task."""
    short = name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
    if short not in PAPER_TASKS or name != f"{_PREFIX}{short}{_SUFFIX}":
        known = ", ".join(f"{_PREFIX}{task}{_SUFFIX}" for task in PAPER_TASKS)
        raise ValueError(
            f"task {name!r} has no true dynamics that can be started anywhere: choose one with "
            f"tensor dynamics (docs/extending.md), or of {known}"
        )
    task = PAPER_TASKS[short]
    assets = Path(gymnasium.envs.mujoco.__file__).parent / "assets"
    model = mujoco.MjModel.from_xml_path(str(assets / task.model))
    model.opt.iterations, model.opt.tolerance = SOLVER_ITERATIONS, SOLVER_TOLERANCE
    return MujocoDynamics(Simulator(model, mujoco.MjData(model), task))


def _rows(*tensors: Tensor) -> list[Array]:
    """Batches as rows in double precision."""
    return [x.detach().double().reshape(-1, x.shape[-1]).numpy() for x in tensors]
