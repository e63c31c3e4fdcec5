"""LQG problems as tasks: the same matrices as the oracle, in torch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from analytic import LQG, LinearModel
from analytic.lqg import matrix_root
from maac_bench.streams import Streams
from maac_bench.tasks.base import Task, TensorDynamics, never
from maac_bench.types import ModelNoise


class LinearGaussianDynamics(NamedTuple):
    """`s' = A s + B a + F e`, `e ~ N(0, I)`. A [n, n], B [n, m], F [n, n]."""

    A: Tensor
    B: Tensor
    noise_factor: Tensor

    @property
    def members(self) -> int:
        """A single model."""
        return 0

    def step(self, state: Tensor, action: Tensor, noise: ModelNoise) -> Tensor:
        """The next state, [..., n]."""
        return state @ self.A.mT + action @ self.B.mT + noise.normal @ self.noise_factor.mT


def linear_quadratic_task(name: str, lqg: LQG) -> Task:
    """An LQG as a task in torch's default precision, with start states N(0, M0)."""
    Q, R = _tensor(lqg.Q), _tensor(lqg.R)
    start_factor = _tensor(matrix_root(lqg.M0))

    def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        if state.device != Q.device:
            raise ValueError(f"{name} is a task of the CPU, where its exact solution is")
        return -((state @ Q) * state).sum(dim=-1) - ((action @ R) * action).sum(dim=-1)

    def start(streams: Streams, count: int) -> Tensor:
        return streams.normal(count, lqg.n) @ start_factor.mT

    true = TensorDynamics(linear_dynamics(lqg.dynamics), start)
    return Task(name, lqg.n, lqg.m, lqg.gamma, reward, never, true, lqg)


def linear_dynamics(model: LinearModel) -> LinearGaussianDynamics:
    """A linear model in torch's default precision."""
    return LinearGaussianDynamics(_tensor(model.A), _tensor(model.B), _tensor(matrix_root(model.W)))


def _tensor(matrix: np.ndarray) -> Tensor:
    return torch.tensor(matrix, dtype=torch.get_default_dtype())
