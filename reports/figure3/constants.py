"""Lemma 4.1's constants for a learned model and critic, measured along sampled rollouts.

The definitions are those of `analytic.lipschitz_constants`, which has them in closed form for a
linear model; here means over trajectories are sample means, and the model's derivative error,
which varies from state to state, is its largest value over the sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import jvp

from analytic import Constants
from maac_bench.policies import LinearGaussian
from maac_bench.rollout import draw_rollout_noise, rollout
from maac_bench.streams import Streams
from maac_bench.tasks import Task, require_lqg, require_true
from maac_bench.types import ModelNoise, Problem

_SAMPLES = 32


class _Path(NamedTuple):
    """Inputs x_t [T, stack, N, n + m] and root mean square of ||d x_t / d K||, [T, stack]."""

    inputs: Tensor
    sensitivity: Tensor


def measure_constants(
    task: Task,
    true: Problem,
    learned: Problem,
    policy: LinearGaussian,
    streams: Callable[[str], Streams],
    horizons: Sequence[int],
) -> dict[int, list[Constants]]:
    """Constants of Lemma 4.1 for every horizon, one per stacked policy.

    Args:
        task: an LQG task; supplies the exact derivatives of dynamics and reward.
        true: exact dynamics and exact critic.
        learned: fitted dynamics and critic.
        policy: linear gains, stack (S,).
        streams: makes the random streams.
        horizons: every H asked for.
    """
    lqg, n = require_lqg(task), task.state_size
    last = max(horizons)
    start = require_true(task).start(streams("bound-start"), _SAMPLES)
    noise = draw_rollout_noise(
        streams("bound-noise"), learned.dynamics, last + 1, (_SAMPLES,), n, task.action_size
    )
    paths = []
    for problem in (true, learned):

        def follow(gain: Tensor, problem: Problem = problem) -> Tensor:
            trajectory = rollout(problem, policy._replace(gain=gain), start, noise)
            pairs = zip(trajectory.states[:-1], trajectory.actions, strict=True)
            return torch.stack([torch.cat([s, a.value], dim=-1) for s, a in pairs])

        paths.append(_differentiate_path(follow, policy.gain.contiguous()))
    exact, fitted = paths
    jacobian = torch.tensor(np.hstack([lqg.A, lqg.B]), dtype=torch.float32)
    model_error = _model_error(learned, fitted.inputs, noise.model, jacobian, n)

    cost = torch.block_diag(*(torch.tensor(c, dtype=torch.float32) for c in (lqg.Q, lqg.R)))
    gap = fitted.inputs - exact.inputs
    state_gap = _rms(gap[..., :n])
    reward_gap, reward_size = _rms(2.0 * gap @ cost), _rms(2.0 * fitted.inputs @ cost)
    fitted_slope = _critic_slope(learned, fitted.inputs, n)
    critic_gap = _rms(fitted_slope - _critic_slope(true, exact.inputs, n))
    critic_size = _rms(fitted_slope)
    closed_loop = lqg.A - lqg.B @ policy.gain.double().numpy()
    growth = np.maximum(1.0, np.linalg.norm(closed_loop, 2, axis=(-2, -1)))
    sizes = torch.maximum(exact.sensitivity, fitted.sensitivity).double().numpy()
    relative_sizes = sizes / growth ** np.arange(last + 1)[:, None]

    def upto(values: Tensor, steps: int, index: int) -> float:
        return float(values[:steps, index].max()) if steps else 0.0

    return {
        H: [
            Constants(
                eps_f=upto(model_error, H, i),
                eps_Q=float(critic_gap[H, i]),
                eps_r=upto(reward_gap, H, i),
                eps_pi=float(np.sqrt(task.action_size)) * upto(state_gap, H + 1, i),
                L_f=float(np.linalg.norm(np.hstack([lqg.A, lqg.B]), 2)),
                L_pi=float(torch.linalg.matrix_norm(policy.gain[i], 2)),
                L_r=upto(reward_size, H, i),
                L_Q=float(critic_size[H, i]),
                K=float(growth[i]),
                C=float(relative_sizes[: H + 1, i].max()),
            )
            for i in range(len(policy.gain))
        ]
        for H in horizons
    }


def _differentiate_path(follow: Callable[[Tensor], Tensor], gain: Tensor) -> _Path:
    """Inputs along the rollout and their forward-mode derivative in every entry of K."""
    inputs, squares = follow(gain), torch.zeros(())
    for i, j in np.ndindex(*gain.shape[-2:]):
        direction = torch.zeros_like(gain)
        direction[..., i, j] = 1.0
        tangent = jvp(follow, (gain,), (direction,))[1]
        squares = squares + tangent.square().sum(dim=-1)
    return _Path(inputs.detach(), squares.mean(dim=-1).sqrt().detach())


def _model_error(
    learned: Problem, inputs: Tensor, noise: Sequence[ModelNoise], jacobian: Tensor, n: int
) -> Tensor:
    """Largest `||grad f_hat - grad f||_2` over the sample at each time, [T, stack]."""
    basis = torch.eye(inputs.shape[-1])
    errors = []
    for x, step_noise in zip(inputs, noise, strict=True):

        def step(x: Tensor, step_noise: ModelNoise = step_noise) -> Tensor:
            return learned.dynamics.step(x[..., :n], x[..., n:], step_noise)

        columns = [jvp(step, (x,), (e.expand_as(x),))[1] for e in basis]
        difference = torch.stack(columns, dim=-1) - jacobian
        errors.append(torch.linalg.matrix_norm(difference, 2).amax(dim=-1))
    return torch.stack(errors).detach()


def _critic_slope(problem: Problem, inputs: Tensor, n: int) -> Tensor:
    """Derivative of the smallest critic at every input, [T, stack, N, n + m]."""

    def slope(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        value = problem.critic(x[..., :n], x[..., n:]).amin(dim=0)
        return torch.autograd.grad(value.sum(), x)[0]

    return torch.stack([slope(x) for x in inputs])


def _rms(vectors: Tensor) -> Tensor:
    """Root mean square length over the samples, [T, stack, N, f] -> [T, stack]."""
    return vectors.square().sum(dim=-1).mean(dim=-1).sqrt()
