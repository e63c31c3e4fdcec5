"""Random problems and independent routes shared by the oracle's tests.

Nothing here calls the formulas under test: values come from explicit loops, torch or sampling.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import sqrtm

from analytic import LQG, LinearModel, QuadraticCritic, evaluate, random_lqg


class Case(NamedTuple):
    """A problem, a stable gain, and a model and a critic that are both wrong."""

    lqg: LQG
    K: np.ndarray
    model: LinearModel
    critic: QuadraticCritic


def random_case(seed, n=2, m=1, *, gamma=0.9, model_error=0.1, critic_error=0.3, gain=0.3):
    rng = np.random.default_rng(seed)
    lqg = random_lqg(n, m, rng, gamma=gamma)
    K = gain * rng.standard_normal((m, n))
    while np.sqrt(gamma) * np.abs(np.linalg.eigvals(lqg.A - lqg.B @ K)).max() >= 0.98:
        K = 0.5 * K
    model = LinearModel(
        lqg.A + model_error * rng.standard_normal((n, n)),
        lqg.B + model_error * rng.standard_normal((n, m)),
        (1.0 + model_error * rng.uniform(-0.9, 0.9)) * lqg.W,
    )
    exact = evaluate(lqg, K)
    critic = QuadraticCritic(
        exact.G + critic_error * rng.standard_normal((n + m, n + m)), exact.d + critic_error
    )
    return Case(lqg, K, model, critic)


def replaced(lqg, **fields):
    """A copy of the problem with some fields changed."""
    names = ("A", "B", "Q", "R", "W", "action_cov", "M0", "gamma")
    return LQG(**({name: getattr(lqg, name) for name in names} | fields))


def scalar_lqg(A, B, *, Q=1.0, R=1.0, W=0.0, action_cov=0.0, M0=1.0, gamma=0.9):
    return LQG([[A]], [[B]], [[Q]], [[R]], [[W]], [[action_cov]], [[M0]], gamma)


def relative_error(estimate, truth):
    return np.linalg.norm(np.asarray(estimate) - truth) / np.linalg.norm(truth)


def central_difference(function, K, step=1e-5):
    K = np.asarray(K, dtype=np.float64)
    gradient = np.empty_like(K)
    for index in np.ndindex(K.shape):
        change = np.zeros_like(K)
        change[index] = step
        gradient[index] = (function(K + change) - function(K - change)) / (2.0 * step)
    return gradient


def state_moments(lqg, K, steps, model=None):
    """`E[s_t s_t']` for t = 0 ... steps."""
    source = lqg if model is None else model
    closed = source.A - source.B @ K
    moments = [lqg.M0]
    for _ in range(steps):
        noise = source.W + source.B @ lqg.action_cov @ source.B.T
        moments.append(closed @ moments[-1] @ closed.T + noise)
    return moments


def autograd(lqg, K, horizon, model=None, critic=None):
    """Value and gradient in K of the H-step objective, by torch through the moments forward.

    The critic is data: its matrix carries no graph. None is no critic at all.
    """
    source = lqg if model is None else model
    A, B, W, Q, R, cov, M = (
        torch.tensor(np.array(x))
        for x in (source.A, source.B, source.W, lqg.Q, lqg.R, lqg.action_cov, lqg.M0)
    )
    gain = torch.tensor(np.array(K), dtype=torch.float64, requires_grad=True)
    closed = A - B @ gain
    value = torch.zeros((), dtype=torch.float64)
    for t in range(horizon):
        cost = torch.trace((Q + gain.T @ R @ gain) @ M) + torch.trace(R @ cov)
        value = value - lqg.gamma**t * cost
        M = closed @ M @ closed.T + W + B @ cov @ B.T
    if critic is not None:
        G = torch.tensor(np.array(critic.G))
        lift = torch.cat([torch.eye(lqg.n, dtype=torch.float64), -gain])
        cost = torch.trace(lift.T @ G @ lift @ M) + torch.trace(G[lqg.n :, lqg.n :] @ cov)
        value = value - lqg.gamma**horizon * (cost + critic.d)
    (gradient,) = torch.autograd.grad(value, gain)
    return value.item(), gradient.numpy()


class Draws(NamedTuple):
    """Standard normals: start [N, n], action [H+1, N, m], process [H, N, n]."""

    start: np.ndarray
    action: np.ndarray
    process: np.ndarray


def draw(lqg, horizon, count, seed):
    rng = np.random.default_rng(seed)
    return Draws(
        rng.standard_normal((count, lqg.n)),
        rng.standard_normal((horizon + 1, count, lqg.m)),
        rng.standard_normal((horizon, count, lqg.n)),
    )


class Rollout(NamedTuple):
    """states [H+1, N, n], actions [H+1, N, m] and noise [H+1, N, m] of sampled trajectories."""

    states: np.ndarray
    actions: np.ndarray
    noise: np.ndarray

    @property
    def inputs(self):
        return np.concatenate([self.states, self.actions], axis=2)


def simulate(lqg, K, draws, model=None):
    """Roll out `a = -K s + e`; equal draws give the true and the learned rollout common noise."""
    source = lqg if model is None else model
    process_root = sqrtm(source.W).real
    states = [draws.start @ sqrtm(lqg.M0).real]
    noise = draws.action @ sqrtm(lqg.action_cov).real
    actions = [-states[0] @ K.T + noise[0]]
    for t in range(len(draws.process)):
        process = draws.process[t] @ process_root
        states.append(states[-1] @ source.A.T + actions[-1] @ source.B.T + process)
        actions.append(-states[-1] @ K.T + noise[t + 1])
    return Rollout(np.array(states), np.array(actions), noise)


def sensitivities(lqg, K, rollout, model=None):
    """`d [s_t; a_t] / d K_ij` of every trajectory by the chain rule, [H+1, N, n+m, m, n]."""
    source = lqg if model is None else model
    m, n = K.shape
    state = np.zeros((rollout.states.shape[1], n, m, n))
    result = []
    for s in rollout.states:
        action = -np.einsum("ab,Nbij->Naij", K, state) - np.einsum("ai,Nj->Naij", np.eye(m), s)
        result.append(np.concatenate([state, action], axis=1))
        state = np.einsum("ab,Nbij->Naij", np.hstack([source.A, source.B]), result[-1])
    return np.array(result)
