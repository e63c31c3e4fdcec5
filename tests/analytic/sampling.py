"""Rollouts and gradients one trajectory at a time: the oracle's brute-force check, in NumPy."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import sqrtm

from tests.analytic.problems import step_cost


class Draws(NamedTuple):
    """Standard normals of N trajectories, and the weight of each, [N], summing to one.

    start [N, n], action [H + 1, N, m], process [H, N, n], and `terminal`, more actions at the last
    state, [count - 1, N, m].
    """

    start: np.ndarray
    action: np.ndarray
    process: np.ndarray
    terminal: np.ndarray
    weight: np.ndarray

    def mean(self, samples):
        return np.tensordot(self.weight, samples, axes=1)


def _arrange(lqg, horizon, terminal_samples, normals, weight):
    """Hand out the columns of `normals`, [N, D]."""
    columns = iter(normals.T)

    def take(*shape):
        flat = np.array([next(columns) for _ in range(int(np.prod(shape)))])
        return np.moveaxis(flat.reshape(*shape, len(normals)), -1, -2)

    n, m = lqg.n, lqg.m
    return Draws(
        take(n), take(horizon + 1, m), take(horizon, n), take(terminal_samples - 1, m), weight
    )


def _dimension(lqg, horizon, terminal_samples):
    return lqg.n + (horizon + terminal_samples) * lqg.m + horizon * lqg.n


def draw(lqg, horizon, count, seed, terminal_samples=1):
    """Independent random draws, equally weighted."""
    size = (count, _dimension(lqg, horizon, terminal_samples))
    normals = np.random.default_rng(seed).standard_normal(size)
    return _arrange(lqg, horizon, terminal_samples, normals, np.full(count, 1.0 / count))


def quadrature(lqg, horizon, nodes, terminal_samples=1):
    """All combinations of Gauss-Hermite nodes: means up to degree 2 nodes - 1 are exact."""
    dimension = _dimension(lqg, horizon, terminal_samples)
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    grid = np.indices((nodes,) * dimension).reshape(dimension, -1).T
    weight = (weights / weights.sum())[grid].prod(axis=1)
    return _arrange(lqg, horizon, terminal_samples, points[grid], weight)


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


def pathwise_samples(lqg, K, draws, model, critic):
    """One pathwise gradient per trajectory, by the chain rule, [N, m, n]."""
    rollout, horizon = simulate(lqg, K, draws, model), len(draws.process)
    jacobian = sensitivities(lqg, K, rollout, model)
    total = np.zeros((len(draws.weight), *K.shape))
    for t in range(horizon):
        slope = -2.0 * rollout.inputs[t] @ step_cost(lqg)
        total += lqg.gamma**t * np.einsum("Nx,Nxij->Nij", slope, jacobian[t])
    last, root = rollout.states[-1], sqrtm(lqg.action_cov).real
    actions = [rollout.actions[-1], *(-last @ K.T + noise @ root for noise in draws.terminal)]
    for action in actions:
        slope = -2.0 * np.concatenate([last, action], axis=1) @ critic.G
        terminal = np.einsum("Nx,Nxij->Nij", slope, jacobian[-1])
        total += lqg.gamma**horizon / len(actions) * terminal
    return total


def score_samples(lqg, K, draws, critic, *, bootstrap, baseline):
    """One score-function gradient with reward-to-go per trajectory, [N, m, n]."""
    rollout, horizon = simulate(lqg, K, draws), len(draws.process)
    x, s = rollout.inputs, rollout.states
    rewards = [-(lqg.gamma**t) * (x[t] @ step_cost(lqg) * x[t]).sum(axis=1) for t in range(horizon)]
    if bootstrap:
        rewards.append(-(lqg.gamma**horizon) * ((x[-1] @ critic.G * x[-1]).sum(axis=1) + critic.d))
    precision = np.linalg.inv(lqg.action_cov)
    total = np.zeros((len(draws.weight), *K.shape))
    for t in range(len(rewards)):
        score = -(rollout.noise[t] @ precision)[:, :, None] * s[t][:, None, :]
        to_go = np.sum(rewards[t:], axis=0)
        if baseline:
            mean = np.concatenate([s[t], -s[t] @ K.T], axis=1)
            to_go = to_go + lqg.gamma**t * ((mean @ critic.G * mean).sum(axis=1) + critic.d)
        total += score * to_go[:, None, None]
    return total
