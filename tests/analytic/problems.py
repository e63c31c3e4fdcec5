"""Random problems and independent routes shared by the oracle's tests.

Values come from explicit loops and from torch, not from the formulas under test.
"""

from typing import NamedTuple

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from scipy.stats import norm

from analytic import LQG, Constants, LinearModel, QuadraticCritic, evaluate, random_lqg


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


def central_difference(function, K, step=1e-4):
    """Fourth-order: its error, `step^4` times the fifth derivative, is below the rounding here."""
    K = np.asarray(K, dtype=np.float64)
    gradient = np.empty_like(K)
    for index in np.ndindex(K.shape):
        unit = np.zeros_like(K)
        unit[index] = step
        near = function(K + unit) - function(K - unit)
        far = function(K + 2.0 * unit) - function(K - 2.0 * unit)
        gradient[index] = (8.0 * near - far) / (12.0 * step)
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


def step_cost(lqg):
    cost = np.zeros((lqg.n + lqg.m,) * 2)
    cost[: lqg.n, : lqg.n], cost[lqg.n :, lqg.n :] = lqg.Q, lqg.R
    return cost


def exact_critic(lqg, K):
    """The Q-function of K by iterating Bellman's equation 600 times from nothing."""
    cost, dynamics = step_cost(lqg), np.hstack([lqg.A, lqg.B])
    G, d, lift = np.zeros_like(cost), 0.0, np.vstack([np.eye(lqg.n), -K])
    for _ in range(600):
        P = lift.T @ G @ lift
        c = d + np.trace(lqg.action_cov @ G[lqg.n :, lqg.n :])
        G, d = cost + lqg.gamma * dynamics.T @ P @ dynamics, lqg.gamma * (np.trace(P @ lqg.W) + c)
    return QuadraticCritic(G, d)


def largest_total_variation(change, action_cov, s_max):
    """Exact `max ||s|| <= s_max` of the distance between N(-K s, cov) and N(-(K + change) s, cov).

    Equal covariances: `2 Phi(delta / 2) - 1` with delta the distance of the means in units of cov.
    """
    delta = s_max * np.linalg.norm(np.linalg.solve(np.linalg.cholesky(action_cov), change), 2)
    return 2.0 * norm.cdf(delta / 2.0) - 1.0


# The same examples on every run: a failure is reproducible, and a pass is not luck of the day.
reproducible = settings(max_examples=150, deadline=None, derandomize=True, database=None)
sizes = st.floats(1e-3, 5.0)
discounts = st.floats(0.0, 0.99)
random_constants = st.builds(
    Constants,
    eps_f=sizes,
    eps_Q=sizes,
    eps_r=sizes,
    eps_pi=sizes,
    L_f=sizes,
    L_pi=sizes,
    L_r=st.floats(1.0, 5.0),
    L_Q=sizes,
    K=st.floats(1.0, 2.0),
    C=sizes,
)


def constants(**chosen):
    """Constants by hand: nothing is wrong and every size is 1 unless said."""
    zero = dict.fromkeys(Constants._fields, 0.0)
    return Constants(**(zero | {"L_f": 1.0, "L_r": 1.0, "K": 1.0, "C": 1.0} | chosen))


random_cases = st.builds(
    random_case,
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 3),
    m=st.integers(1, 2),
    gamma=st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    model_error=st.sampled_from([0.0, 1e-3, 0.1, 1.0]),
    critic_error=st.sampled_from([0.0, 1e-3, 0.1, 10.0]),
    gain=st.sampled_from([0.1, 1.0]),
)
