"""The H-step model-augmented objective with any linear model and any quadratic critic.

Clavera et al. 2020, Sec. 4.1: `J_H = E[sum_{t<H} gamma^t r(s_t, a_t) + gamma^H Q(s_H, a_H)]`.
On an LQG its value and its gradient are finite sums of matrix products: no sampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from analytic.exact import (
    Evaluation,
    block_diagonal,
    closed_loop,
    evaluate,
    finite_gradient,
    noise_drive,
    on_policy,
    policy_gradient,
)
from analytic.lqg import LQG, Array, LinearModel, as_matrix, check_count, check_finite, no_overflow


@dataclass(frozen=True, eq=False)
class QuadraticCritic:
    """`Q(s, a) = -[s; a]' G [s; a] - d`; G is symmetrised, [n + m, n + m].

    Raises ValueError naming the field that does not fit.
    """

    G: Array
    d: float

    def __init__(self, G: ArrayLike, d: float = 0.0) -> None:
        G = as_matrix("critic.G", G)
        if G.shape[0] != G.shape[1]:
            raise ValueError(f"critic.G must be square, got shape {list(G.shape)}")
        check_finite(**{"critic.d": d})
        object.__setattr__(self, "G", as_matrix("critic.G", 0.5 * (G + G.T)))
        object.__setattr__(self, "d", float(d))


def resolve(
    lqg: LQG,
    K: Array,
    model: LinearModel | None,
    critic: QuadraticCritic | Evaluation | None,
    remaining: int | None = None,
) -> tuple[LinearModel, QuadraticCritic]:
    """Fill in the exact model and the exact critic of K where None is given, and check shapes.

    Args:
        lqg: the problem.
        K: gain, [m, n].
        model: None is exact.
        critic: None is exact.
        remaining: rewards the exact critic has to go; None is the infinite horizon.

    Raises:
        ValueError: something else than a model or a critic, or one of another size.
    """
    size = lqg.n + lqg.m
    if not (model is None or isinstance(model, LinearModel)):
        raise ValueError(f"model must be a LinearModel, got {type(model).__name__}")
    if not (critic is None or isinstance(critic, QuadraticCritic | Evaluation)):
        raise ValueError(f"critic must be a QuadraticCritic, got {type(critic).__name__}")
    if model is None:
        model = lqg.dynamics
    if critic is None and remaining == 0:
        critic = QuadraticCritic(np.zeros((size, size)))
    elif critic is None:
        critic = evaluate(lqg, K, remaining)
    if isinstance(critic, Evaluation):
        critic = QuadraticCritic(critic.G, critic.d)
    as_matrix("model.A", model.A, (lqg.n, lqg.n))
    as_matrix("model.B", model.B, (lqg.n, lqg.m))
    as_matrix("critic.G", critic.G, (size, size))
    return model, critic


def _remaining(horizon: int, T: int | None) -> int | None:
    """Rewards left after H of T steps; ValueError unless H <= T."""
    if T is None:
        return None
    if horizon > check_count("T", T, 1):
        raise ValueError(f"horizon must be at most T = {T}, got {horizon}")
    return T - horizon


def maac_objective(
    lqg: LQG,
    K: ArrayLike,
    horizon: int,
    model: LinearModel | None = None,
    critic: QuadraticCritic | None = None,
    T: int | None = None,
) -> float:
    """Value of the H-step objective (Clavera et al. 2020, Sec. 4.1).

    Args:
        lqg: costs, discount, policy noise and start moment.
        K: gain, [m, n].
        horizon: H, the number of model transitions; 0 leaves only the critic.
        model: dynamics to roll out; None is exact.
        critic: terminal critic; None is the exact Q-function of K.
        T: number of rewards of the return the exact critic belongs to, at least H (with H = T it
            is zero); None is the infinite horizon.

    Raises:
        UnstablePolicyError: the exact critic is asked for and does not exist, or the model's
            trajectories grow beyond any number.
        ValueError: shapes do not fit or the horizon is out of range.
    """
    K, horizon = lqg.gain(K), check_count("horizon", horizon, 0)
    model, critic = resolve(lqg, K, model, critic, _remaining(horizon, T))
    A_K, drive = closed_loop(model, K), noise_drive(lqg, model)
    cost = block_diagonal(lqg.Q, lqg.R)
    value, M = 0.0, lqg.M0
    with no_overflow(f"the objective of {horizon} model steps") as check:
        for t in range(horizon):
            value -= lqg.gamma**t * _expected_quadratic(cost, K, M, lqg.action_cov)
            M = A_K @ M @ A_K.T + drive
        terminal = _expected_quadratic(critic.G, K, M, lqg.action_cov) + critic.d
        value -= lqg.gamma**horizon * terminal
        check(value)
    return value


def _expected_quadratic(G: Array, K: Array, M: Array, action_cov: Array) -> float:
    """`E[[s; a]' G [s; a]]` for `E[s s'] = M`, `a = -K s + e`."""
    n = K.shape[1]
    return float(np.trace(on_policy(G, K) @ M) + np.trace(G[n:, n:] @ action_cov))


def maac_gradient(
    lqg: LQG,
    K: ArrayLike,
    horizon: int,
    model: LinearModel | None = None,
    critic: QuadraticCritic | None = None,
    T: int | None = None,
) -> Array:
    """Exact gradient of `maac_objective` with respect to K at a fixed critic, [m, n].

    Arguments and errors as for `maac_objective`. The critic is a constant of the differentiation
    even when it is the exact Q-function of K: that is what an actor update does.
    """
    K, horizon = lqg.gain(K), check_count("horizon", horizon, 0)
    model, critic = resolve(lqg, K, model, critic, _remaining(horizon, T))
    with no_overflow(f"the gradient of {horizon} model steps") as check:
        result = finite_gradient(lqg, K, horizon, critic.G, model)
        check(result)
    return result


class GradientError(NamedTuple):
    """Where the H-step gradient's error comes from; each [m, n], estimate minus truth.

    Fields:
        truncation: exact model and critic, against the gradient of the return (the critic is held
            fixed, so later actions' dependence on the policy is missing).
        model: what replacing the exact model adds, with the exact critic.
        critic: what replacing the exact critic adds, with the exact model.
        interaction: what replacing both adds beyond the two above.
        total: the sum of the four; the error against the gradient of the return.
    """

    truncation: Array
    model: Array
    critic: Array
    interaction: Array
    total: Array


def gradient_error(
    lqg: LQG,
    K: ArrayLike,
    horizon: int,
    model: LinearModel | None = None,
    critic: QuadraticCritic | None = None,
    T: int | None = None,
) -> GradientError:
    """Split the error of `maac_gradient` against `policy_gradient` into its exact parts.

    Arguments and errors as for `maac_objective`; without T, K must be stable: the truth is needed.
    """
    truth = policy_gradient(lqg, K, T)
    exact = maac_gradient(lqg, K, horizon, T=T)
    with_model = maac_gradient(lqg, K, horizon, model=model, T=T)
    with_critic = maac_gradient(lqg, K, horizon, critic=critic, T=T)
    with_both = maac_gradient(lqg, K, horizon, model=model, critic=critic, T=T)
    return GradientError(
        truncation=exact - truth,
        model=with_model - exact,
        critic=with_critic - exact,
        interaction=with_both - with_model - with_critic + exact,
        total=with_both - truth,
    )
