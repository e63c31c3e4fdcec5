"""Exact value, Q-function and policy gradient of a linear gain in closed form.

Infinite horizon (`T=None`) solves discrete Lyapunov equations and needs
`sqrt(gamma) * rho(A - B K) < 1`; a finite horizon T is the same problem as the H-step objective
with H = T and no critic, and needs no stability.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_discrete_are, solve_discrete_lyapunov

from analytic.lqg import LQG, Array, LinearModel, UnstablePolicyError, check_count, no_overflow

_ROUNDING = 1e-12
"""By which a gain at the limit of stability may seem to be within it."""


class Evaluation(NamedTuple):
    """The policy's exact return and value functions.

    Fields:
        J: expected discounted return.
        P: `V(s) = -s'Ps - c`, [n, n].
        c: see P.
        G: `Q(s, a) = -[s; a]' G [s; a] - d`, [n + m, n + m].
        d: see G.
        S: discounted second moment of the state, `sum_t gamma^t E[s_t s_t']`, [n, n].
    """

    J: float
    P: Array
    c: float
    G: Array
    d: float
    S: Array


def closed_loop(model: LinearModel, K: Array) -> Array:
    """`A_K = A - B K`, [n, n]."""
    return model.A - model.B @ K


def q_matrix(lqg: LQG, P: Array, model: LinearModel) -> Array:
    """The G of `Q(s, a) = r(s, a) + gamma E[V(s')]` when `V(s) = -s'Ps - c`, [n + m, n + m].

    Args:
        lqg: supplies the costs and the discount.
        P: quadratic part of the next state's value, [n, n].
        model: from whose dynamics the next state is.
    """
    dynamics = np.hstack([model.A, model.B])
    return block_diagonal(lqg.Q, lqg.R) + lqg.gamma * dynamics.T @ P @ dynamics


def block_diagonal(first: Array, second: Array) -> Array:
    """`[[first, 0], [0, second]]`."""
    (a, b), (c, d) = first.shape, second.shape
    return np.block([[first, np.zeros((a, d))], [np.zeros((c, b)), second]])


def on_policy(G: Array, K: Array) -> Array:
    """`[I; -K]' G [I; -K]`: the quadratic part of V when Q has G, [n, n]."""
    lift = np.vstack([np.eye(K.shape[1]), -K])
    return lift.T @ G @ lift


def gradient_factor(G: Array, K: Array) -> Array:
    """`E = G_aa K - G_as`, [m, n]: half of d(s'Ps)/dK at a fixed Q, per unit of E[s s']."""
    n = K.shape[1]
    return G[n:, n:] @ K - G[n:, :n]


def noise_drive(lqg: LQG, model: LinearModel) -> Array:
    """`W + B Sigma_a B'`: what one step of a model adds to the state's second moment, [n, n]."""
    return model.W + model.B @ lqg.action_cov @ model.B.T


def require_stable(lqg: LQG, K: Array, margin: float = 0.0) -> None:
    """Raise UnstablePolicyError unless `sqrt(gamma) * rho(A - B K) < 1`, by that margin."""
    radius = float(np.abs(np.linalg.eigvals(closed_loop(lqg.dynamics, K))).max())
    contraction = float(np.sqrt(lqg.gamma)) * radius
    if not contraction < 1.0 - margin:
        raise UnstablePolicyError(
            f"K is unstable: sqrt(gamma) * rho(A - B K) = {contraction:.6g}, must be below 1"
        )


def evaluate(lqg: LQG, K: ArrayLike, T: int | None = None) -> Evaluation:
    """Exact return, value functions and state occupancy of `a = -K s + e`.

    `P = Q + K'RK + gamma A_K' P A_K` and `S = M0 + gamma (A_K S A_K' + (W + B Sigma_a B') /
    (1 - gamma))`; with a finite T, the backward and forward recursions they are fixed points of.

    Args:
        lqg: the problem.
        K: gain, [m, n].
        T: number of rewards; None is the infinite horizon.

    Returns:
        The record; with a finite T the value functions are those at t = 0.

    Raises:
        UnstablePolicyError: infinite horizon and the discounted return diverges, or a number is
            larger than any.
        ValueError: K has the wrong shape or is not finite, or T < 1.
    """
    K = lqg.gain(K)
    if T is not None:
        return _evaluate_finite(lqg, K, T)
    require_stable(lqg, K)
    gamma, drive = lqg.gamma, noise_drive(lqg, lqg.dynamics)
    scaled = np.sqrt(gamma) * closed_loop(lqg.dynamics, K)
    with no_overflow("the discounted return") as check:
        P = _symmetric(solve_discrete_lyapunov(scaled.T, lqg.Q + K.T @ lqg.R @ K))
        S = _symmetric(solve_discrete_lyapunov(scaled, lqg.M0 + gamma / (1.0 - gamma) * drive))
        G = q_matrix(lqg, P, lqg.dynamics)
        action_cost = float(np.trace(lqg.action_cov @ G[lqg.n :, lqg.n :]))
        noise_cost = gamma * float(np.trace(P @ lqg.W))
        c = (action_cost + noise_cost) / (1.0 - gamma)
        d = noise_cost + gamma * c
        found = Evaluation(J=-float(np.trace(P @ lqg.M0)) - c, P=P, c=c, G=G, d=d, S=S)
        for value in found:
            check(value)
    return found


def _evaluate_finite(lqg: LQG, K: Array, T: int) -> Evaluation:
    T = check_count("T", T, 1)
    P, c = np.zeros((lqg.n, lqg.n)), 0.0
    A_K, drive = closed_loop(lqg.dynamics, K), noise_drive(lqg, lqg.dynamics)
    M, S = lqg.M0, np.zeros((lqg.n, lqg.n))
    with no_overflow(f"the return of {T} rewards") as check:
        for _ in range(T):
            G = q_matrix(lqg, P, lqg.dynamics)
            d = lqg.gamma * (float(np.trace(P @ lqg.W)) + c)
            P, c = on_policy(G, K), d + float(np.trace(lqg.action_cov @ G[lqg.n :, lqg.n :]))
        for t in range(T):
            S = S + lqg.gamma**t * M
            M = A_K @ M @ A_K.T + drive
        found = Evaluation(J=-float(np.trace(P @ lqg.M0)) - c, P=P, c=c, G=G, d=d, S=S)
        for value in found:
            check(value)
    return found


def policy_gradient(lqg: LQG, K: ArrayLike, T: int | None = None) -> Array:
    """Exact gradient of the return with respect to the gain, [m, n].

    `grad J = -2 E S` with `E = (R + gamma B'PB) K - gamma B'PA`; with a finite T, the same sum
    taken step by step.

    Args:
        lqg: the problem.
        K: gain, [m, n].
        T: number of rewards; None is the infinite horizon.

    Raises:
        UnstablePolicyError: infinite horizon and the discounted return diverges, or a number is
            larger than any.
        ValueError: K has the wrong shape or is not finite, or T < 1.
    """
    K = lqg.gain(K)
    if T is None:
        evaluation = evaluate(lqg, K)
        with no_overflow("the gradient of the discounted return") as check:
            gradient: Array = -2.0 * gradient_factor(evaluation.G, K) @ evaluation.S
            check(gradient)
        return gradient
    T = check_count("T", T, 1)
    with no_overflow(f"the gradient of {T} rewards") as check:
        result = finite_gradient(lqg, K, T, np.zeros((lqg.n + lqg.m,) * 2), lqg.dynamics)
        check(result)
    return result


def finite_gradient(lqg: LQG, K: Array, horizon: int, terminal: Array, model: LinearModel) -> Array:
    """`-2 sum_{t=0}^{H} gamma^t E_t M_t` with a fixed terminal critic, [m, n].

    `P_H = [I; -K]' G [I; -K]`, `P_t = Q + K'RK + gamma A_K' P_{t+1} A_K`; `M_0` given,
    `M_{t+1} = A_K M_t A_K' + W + B Sigma_a B'`. The critic is not differentiated with respect to
    the policy.

    Args:
        lqg: costs, discount, policy noise and start moment.
        K: gain, [m, n].
        horizon: H, the number of transitions.
        terminal: the critic's G, [n + m, n + m].
        model: what is rolled out.
    """
    factors, G = [gradient_factor(terminal, K)], terminal
    for _ in range(horizon):
        G = q_matrix(lqg, on_policy(G, K), model)
        factors.append(gradient_factor(G, K))
    A_K, drive = closed_loop(model, K), noise_drive(lqg, model)
    total: Array = np.zeros_like(K)
    M = lqg.M0
    for t, factor in enumerate(reversed(factors)):
        total = total - 2.0 * lqg.gamma**t * factor @ M
        M = A_K @ M @ A_K.T + drive
    return total


def optimal_gain(lqg: LQG) -> Array:
    """The stable gain that maximises the return, [m, n], from the discounted Riccati equation.

    Raises:
        ValueError: the discounted problem has no stabilising solution.
    """
    root = float(np.sqrt(lqg.gamma))
    try:
        riccati = solve_discrete_are(root * lqg.A, root * lqg.B, lqg.Q, lqg.R)
    except np.linalg.LinAlgError as error:
        raise ValueError(f"no stabilising gain exists for this LQG: {error}") from error
    G = q_matrix(lqg, np.asarray(riccati, dtype=np.float64), lqg.dynamics)
    K = np.asarray(np.linalg.solve(G[lqg.n :, lqg.n :], G[lqg.n :, : lqg.n]), dtype=np.float64)
    try:
        require_stable(lqg, K, _ROUNDING)
    except UnstablePolicyError as error:  # such as at the limit, where nothing is paid for
        raise ValueError(f"no stabilising gain was found for this LQG: {error}") from error
    return K


def _symmetric(matrix: Array) -> Array:
    return 0.5 * (matrix + matrix.T)
