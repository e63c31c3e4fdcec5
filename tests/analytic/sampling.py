"""Sampled rollouts and gradients: the oracle's brute-force check, in plain NumPy."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import sqrtm

from tests.analytic.problems import step_cost


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


def pathwise_samples(lqg, K, horizon, model, critic, *, seed, terminal_samples=1, count=200_000):
    """One pathwise gradient per trajectory, by the chain rule, [N, m, n]."""
    rollout = simulate(lqg, K, draw(lqg, horizon, count, seed), model)
    slopes = -2.0 * rollout.inputs @ step_cost(lqg)
    jacobian = sensitivities(lqg, K, rollout, model)
    total = np.zeros((count, *K.shape))
    for t in range(horizon):
        total += lqg.gamma**t * np.einsum("Nx,Nxij->Nij", slopes[t], jacobian[t])
    extra = draw(lqg, terminal_samples - 1, count, seed + 1)
    for noise in extra.action:  # fresh actions at the last state
        last = rollout.states[-1]
        action = -last @ K.T + noise @ np.linalg.cholesky(lqg.action_cov).T
        slope = -2.0 * np.concatenate([last, action], axis=1) @ critic.G
        terminal = np.einsum("Nx,Nxij->Nij", slope, jacobian[-1])
        total += lqg.gamma**horizon / terminal_samples * terminal
    return total


def score_samples(lqg, K, horizon, critic, *, seed, bootstrap, baseline, count=200_000):
    """One score-function gradient with reward-to-go per trajectory, [N, m, n]."""
    rollout = simulate(lqg, K, draw(lqg, horizon, count, seed))
    x, s = rollout.inputs, rollout.states
    rewards = [-(lqg.gamma**t) * (x[t] @ step_cost(lqg) * x[t]).sum(axis=1) for t in range(horizon)]
    if bootstrap:
        rewards.append(-(lqg.gamma**horizon) * ((x[-1] @ critic.G * x[-1]).sum(axis=1) + critic.d))
    precision = np.linalg.inv(lqg.action_cov)
    total = np.zeros((count, *K.shape))
    for t in range(len(rewards)):
        score = -(rollout.noise[t] @ precision)[:, :, None] * s[t][:, None, :]
        to_go = np.sum(rewards[t:], axis=0)
        if baseline:
            mean = np.concatenate([s[t], -s[t] @ K.T], axis=1)
            to_go = to_go + lqg.gamma**t * ((mean @ critic.G * mean).sum(axis=1) + critic.d)
        total += score * to_go[:, None, None]
    return total
