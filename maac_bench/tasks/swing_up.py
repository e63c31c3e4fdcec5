"""Pendulum and cart-pole swing-up, differentiable and deterministic: ablations in minutes.

Observations use cosine and sine of the angle (0 is upright), actions are in [-1, 1]. One step is
one semi-implicit Euler step: velocities first, then positions with the new velocities.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from maac_bench.streams import Streams
from maac_bench.tasks.base import Task, TensorDynamics, never
from maac_bench.types import ModelNoise

PENDULUM, CART_POLE = "maac_bench/Pendulum-v0", "maac_bench/CartPole-v0"


class Pendulum(NamedTuple):
    """Torque-limited pendulum, state [cos, sin, angular velocity] (Gymnasium's Pendulum-v1).

    `w' = w + (3 g / (2 l) sin + 3 / (m l^2) u) dt`, torque u = 2 a. Gymnasium's limit on the
    velocity is left out: the dynamics have a derivative everywhere, and no energy is lost.
    """

    dt: float = 0.05
    gravity: float = 10.0
    max_torque: float = 2.0

    @property
    def members(self) -> int:
        """A single model."""
        return 0

    def step(self, state: Tensor, action: Tensor, noise: ModelNoise) -> Tensor:
        """The next state, [..., 3]; the noise is not used: the task is deterministic."""
        cosine, sine, velocity = state.unbind(dim=-1)
        torque = self.max_torque * action[..., 0]
        velocity = velocity + (1.5 * self.gravity * sine + 3.0 * torque) * self.dt
        return torch.stack([*_rotate(cosine, sine, velocity * self.dt), velocity], dim=-1)


class CartPole(NamedTuple):
    """Pole on a cart with a limited force, state [x, cos, sin, x velocity, angular velocity].

    Equations of Barto et al. 1983 without friction; masses 1 and 0.1 kg, half-length 0.5 m, force
    10 a newton. The track is unlimited: the reward keeps the cart near its middle.
    """

    dt: float = 0.05
    gravity: float = 9.8
    cart_mass: float = 1.0
    pole_mass: float = 0.1
    half_length: float = 0.5
    max_force: float = 10.0

    @property
    def members(self) -> int:
        """A single model."""
        return 0

    def step(self, state: Tensor, action: Tensor, noise: ModelNoise) -> Tensor:
        """The next state, [..., 5]; the noise is not used: the task is deterministic."""
        x, cosine, sine, speed, rate = state.unbind(dim=-1)
        total = self.cart_mass + self.pole_mass
        moment = self.pole_mass * self.half_length
        push = (self.max_force * action[..., 0] + moment * rate.square() * sine) / total
        inertia = self.half_length * (4.0 / 3.0 - self.pole_mass * cosine.square() / total)
        angular = (self.gravity * sine - cosine * push) / inertia
        speed = speed + (push - moment * angular * cosine / total) * self.dt
        rate = rate + angular * self.dt
        turned = _rotate(cosine, sine, rate * self.dt)
        return torch.stack([x + speed * self.dt, *turned, speed, rate], dim=-1)


def _rotate(cosine: Tensor, sine: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of a turned angle; stays on the unit circle where it starts on it."""
    turn_cosine, turn_sine = torch.cos(angle), torch.sin(angle)
    return (
        cosine * turn_cosine - sine * turn_sine,
        sine * turn_cosine + cosine * turn_sine,
    )


def _pendulum_reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """Upright, slow and cheap: `cos - 0.01 w^2 - 0.001 a^2` before the step."""
    cosine, _, velocity = state.unbind(dim=-1)
    return cosine - 0.01 * velocity.square() - 0.001 * action[..., 0].square()


def _cart_pole_reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """Upright and centred: `cos - 0.05 x^2 - 0.01 a^2` before the step."""
    return state[..., 1] - 0.05 * state[..., 0].square() - 0.01 * action[..., 0].square()


def _pendulum_start(streams: Streams, count: int) -> Tensor:
    """Any angle, velocity in [-1, 1]."""
    angle, velocity = (2.0 * streams.uniform(count, 2) - 1.0).unbind(dim=-1)
    angle = math.pi * angle
    return torch.stack([angle.cos(), angle.sin(), velocity], dim=-1)


def _cart_pole_start(streams: Streams, count: int) -> Tensor:
    """Hanging at rest in the middle, each coordinate off by up to 0.1."""
    x, angle, speed, rate = (0.2 * streams.uniform(count, 4) - 0.1).unbind(dim=-1)
    return torch.stack([x, -angle.cos(), -angle.sin(), speed, rate], dim=-1)


def pendulum_task() -> Task:
    """`maac_bench/Pendulum-v0`."""
    true = TensorDynamics(Pendulum(), _pendulum_start)
    return Task(PENDULUM, 3, 1, 0.99, _pendulum_reward, never, true)


def cart_pole_task() -> Task:
    """`maac_bench/CartPole-v0`."""
    true = TensorDynamics(CartPole(), _cart_pole_start)
    return Task(CART_POLE, 5, 1, 0.99, _cart_pole_reward, never, true)
