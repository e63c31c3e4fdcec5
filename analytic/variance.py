"""Closed-form mean and variance, per sample, of the pathwise and score-function estimators.

With Gaussian start states, everything along an LQG rollout is linear in one standard normal
vector z (start, action noise, process noise). The pathwise gradient is then a quadratic form in z
and the score-function gradient a sum of products of two quadratic forms; their moments follow from
the joint cumulants `k(z'A_1 z, ..., z'A_k z) = 2^{k-1} sum over cyclic orders of tr(A_1 ... A_k)`
(Magnus 1978, "The moments of products of quadratic forms in normal variables").

It stops there: the zeroth-order estimator perturbs the gain, so its samples are not polynomial in
the noise, and the inverse-variance combination divides by a random variance.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple, ParamSpec

import numpy as np
from numpy.typing import ArrayLike

from analytic.exact import block_diagonal, on_policy
from analytic.lqg import (
    LQG,
    Array,
    LinearModel,
    as_symmetric,
    check_count,
    matrix_root,
    no_overflow,
)
from analytic.objective import QuadraticCritic, resolve

_Arguments = ParamSpec("_Arguments")


class Moments(NamedTuple):
    """Mean and variance of one sample's gradient estimate, entry by entry, each [m, n]."""

    mean: Array
    variance: Array


def _finite(moments: Callable[_Arguments, Moments]) -> Callable[_Arguments, Moments]:
    """With an UnstablePolicyError in place of moments that are larger than any number."""

    @wraps(moments)
    def checked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Moments:
        with no_overflow("a moment of the estimate") as check:
            found = moments(*args, **kwargs)
            for value in found:
                check(value)
        return found

    return checked


class _Rollout(NamedTuple):
    """Linear maps from z, of dimension D: states [H+1, n, D], actions and noise [H+1, m, D]."""

    states: Array
    actions: Array
    noise: Array


@_finite
def pathwise_moments(
    lqg: LQG,
    K: ArrayLike,
    horizon: int,
    model: LinearModel | None = None,
    critic: QuadraticCritic | None = None,
    terminal_samples: int = 1,
) -> Moments:
    """Moments of the pathwise H-step estimator of one sampled rollout.

    Args:
        lqg: the problem; start states are taken to be N(0, M0).
        K: gain, [m, n].
        horizon: H.
        model: dynamics that are rolled out; None is exact.
        critic: terminal critic; None is the exact Q-function of K.
        terminal_samples: actions averaged in the terminal value.

    Raises:
        UnstablePolicyError: the exact critic is asked for and does not exist, or a moment is larger
            than any number.
        ValueError: shapes do not fit, or a count is out of range.
    """
    K, horizon = lqg.gain(K), check_count("horizon", horizon, 0)
    terminal_samples = check_count("terminal_samples", terminal_samples, 1)
    model, critic = resolve(lqg, K, model, critic)
    rollout = _linear_rollout(lqg, model, K, horizon, terminal_samples)
    inputs = np.concatenate([rollout.states, rollout.actions], axis=1)
    cost = block_diagonal(lqg.Q, lqg.R)
    sensitivity = _sensitivities(model, K, rollout.states)
    mean, variance = np.zeros_like(K), np.zeros_like(K)
    for i, j in np.ndindex(K.shape):
        form = np.zeros((inputs.shape[-1],) * 2)
        for t in range(horizon + 1):
            G = critic.G if t == horizon else cost
            form -= 2.0 * lqg.gamma**t * sensitivity[t][i, j].T @ G @ inputs[t]
        form = 0.5 * (form + form.T)
        mean[i, j] = np.trace(form)
        variance[i, j] = 2.0 * np.sum(form * form)
    return Moments(mean, variance)


@_finite
def score_function_moments(
    lqg: LQG,
    K: ArrayLike,
    horizon: int,
    critic: QuadraticCritic | None = None,
    *,
    bootstrap: bool = True,
    baseline: bool = False,
) -> Moments:
    """Moments of the score-function estimator with reward-to-go, of one sampled rollout.

    Args:
        lqg: the problem; start states are taken to be N(0, M0) and action_cov must be invertible.
        K: gain, [m, n].
        horizon: H.
        critic: closes the rollout and serves as baseline; None is the exact Q-function of K.
        bootstrap: add `gamma^H Q(s_H, a_H)`; without it the return is cut after H rewards.
        baseline: subtract `gamma^t Q(s_t, -K s_t)`, the critic at the mean action.

    Raises:
        UnstablePolicyError: the exact critic is asked for and does not exist, or a moment is larger
            than any number.
        ValueError: shapes do not fit, the horizon is out of range or action_cov is singular.
    """
    K, horizon = lqg.gain(K), check_count("horizon", horizon, 0)
    as_symmetric("action_cov", lqg.action_cov, lqg.m, definite=True)  # the score divides by it
    if critic is None and not (bootstrap or baseline):
        critic = QuadraticCritic(np.zeros((lqg.n + lqg.m,) * 2))  # not used: spare its solution
    model, critic = resolve(lqg, K, None, critic)
    rollout = _linear_rollout(lqg, model, K, horizon, 1)
    forms, constants = _return_forms(lqg, K, critic, rollout, bootstrap, baseline)
    steps = len(forms)
    mean, variance = np.zeros_like(K), np.zeros_like(K)
    precision_root = np.linalg.inv(matrix_root(lqg.action_cov)).T
    for i, j in np.ndindex(K.shape):
        scores = np.empty_like(forms)
        for t in range(steps):
            outer = -np.outer(precision_root[i] @ rollout.noise[t], rollout.states[t, j])
            scores[t] = 0.5 * (outer + outer.T)
        mean[i, j], variance[i, j] = _product_moments(scores, forms, constants)
    return Moments(mean, variance)


def _linear_rollout(
    lqg: LQG, model: LinearModel, K: Array, horizon: int, terminal_samples: int
) -> _Rollout:
    """States and actions as linear maps of z = [start, (action noise, process noise) * H, last].

    The pathwise gradient is linear in the terminal action, so averaging K of them is the same as
    one whose noise has standard deviation 1 / sqrt(K).
    """
    n, m = lqg.n, lqg.m
    size = n + horizon * (m + n) + m
    unit = np.eye(size)
    action_root, noise_root = matrix_root(lqg.action_cov), matrix_root(model.W)
    state = matrix_root(lqg.M0) @ unit[:n]
    states, actions, noise = [], [], []
    for t in range(horizon + 1):
        start = n + t * (m + n)
        scale = 1.0 if t < horizon else 1.0 / np.sqrt(terminal_samples)
        noise.append(unit[start : start + m])
        states.append(state)
        actions.append(-K @ state + scale * action_root @ noise[-1])
        if t < horizon:
            disturbance = noise_root @ unit[start + m : start + m + n]
            state = model.A @ state + model.B @ actions[-1] + disturbance
    return _Rollout(np.array(states), np.array(actions), np.array(noise))


def _sensitivities(model: LinearModel, K: Array, states: Array) -> list[Array]:
    """`d [s_t; a_t] / d K_ij` as linear maps of z, t = 0 ... H, each [m, n, n + m, D]."""
    m, n = K.shape
    size = states.shape[-1]
    state = np.zeros((m, n, n, size))
    result = []
    for s in states:
        action = -K @ state
        for i, j in np.ndindex(m, n):
            action[i, j, i] -= s[j]
        result.append(np.concatenate([state, action], axis=2))
        state = model.A @ state + model.B @ action
    return result


def _return_forms(
    lqg: LQG,
    K: Array,
    critic: QuadraticCritic,
    rollout: _Rollout,
    bootstrap: bool,
    baseline: bool,
) -> tuple[Array, Array]:
    """Reward-to-go minus baseline at each step as `z' A_t z + b_t`: [steps, D, D] and [steps]."""
    horizon = len(rollout.states) - 1
    inputs = np.concatenate([rollout.states, rollout.actions], axis=1)
    cost = block_diagonal(lqg.Q, lqg.R)
    form, constant = np.zeros((inputs.shape[-1],) * 2), 0.0
    if bootstrap:
        form = -(lqg.gamma**horizon) * inputs[-1].T @ critic.G @ inputs[-1]
        constant = -(lqg.gamma**horizon) * critic.d
    forms, constants = [form], [constant]
    for t in reversed(range(horizon)):
        form = form - lqg.gamma**t * inputs[t].T @ cost @ inputs[t]
        forms.append(form)
        constants.append(constant)
    forms, constants = forms[::-1], constants[::-1]
    if baseline:
        value = on_policy(critic.G, K)
        for t, s in enumerate(rollout.states):
            forms[t] = forms[t] + lqg.gamma**t * s.T @ value @ s
            constants[t] += lqg.gamma**t * critic.d
    steps = horizon + 1 if bootstrap else horizon
    return np.array(forms[:steps]), np.array(constants[:steps])


def _product_moments(scores: Array, forms: Array, constants: Array) -> tuple[float, float]:
    """Mean and variance of `sum_t (z' q_t z)(z' A_t z + b_t)`; tr(q_t) = 0 by construction.

    Args:
        scores: q_t, symmetric, [T, D, D].
        forms: A_t, symmetric, [T, D, D].
        constants: b_t, [T].
    """
    if len(scores) == 0:
        return 0.0, 0.0
    steps = range(len(scores))

    def pairs(left: Array, right: Array) -> Array:
        """`tr(left_t right_u')` for every t, u, [T, T]."""
        return left.reshape(len(left), -1) @ right.reshape(len(right), -1).T

    first = np.trace(forms, axis1=1, axis2=2) + constants  # k(A_t)
    score_score, form_form = 2.0 * pairs(scores, scores), 2.0 * pairs(forms, forms)
    score_form = 2.0 * pairs(scores, forms)
    products = scores @ forms  # q_t A_t
    mean = np.sum(np.diag(score_form))
    square = 0.0
    alternating = pairs(products, np.swapaxes(products, 1, 2))  # tr(q A q' A')
    nested = pairs(products, products)  # tr(q A A' q')
    for t in steps:
        for u in steps:
            both_scores, both_forms = scores[t] @ scores[u], forms[t] @ forms[u]
            crossed = np.sum(both_scores * both_forms.T)  # tr(q q' A A')
            fourth = 16.0 * (alternating[t, u] + nested[t, u] + crossed)
            thirds = 8.0 * (
                first[t] * np.sum(both_scores * forms[u])
                + first[u] * np.sum(both_scores * forms[t])
            )
            seconds = (
                score_score[t, u] * (form_form[t, u] + first[t] * first[u])
                + score_form[t, t] * score_form[u, u]
                + score_form[t, u] * score_form[u, t]
            )
            square += fourth + thirds + seconds
    return float(mean), float(square - mean**2)
