"""Lemma 4.1, Lemma 4.2 and Theorem 4.1 of Clavera et al. 2020, as printed and corrected.

docs/errata.md gives the proof or the counterexample behind each difference.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from analytic.constants import Constants
from analytic.lqg import Array, check_count, check_discount, check_nonnegative

Form: TypeAlias = Literal["printed", "corrected"]


def _corrected(form: str) -> bool:
    if form not in ("printed", "corrected"):
        raise ValueError(f"form must be 'printed' or 'corrected', got {form!r}")
    return form == "corrected"


def _times(size: float, growth: Array | float) -> Array:
    """`size * growth`, and 0 for a size of 0 however far the growth has gone."""
    return np.multiply(size, growth) if size else np.zeros_like(growth)


def _bound(value: ArrayLike) -> float:
    """A bound larger than any number is no bound: inf, and never nan."""
    return float(np.nan_to_num(value, nan=np.inf, posinf=np.inf))


def geometric(ratio: float, terms: int) -> float:
    """`sum_{k < terms} ratio^k`, finite at ratio = 1 where the quotient form is not."""
    terms = check_count("terms", terms, 0)
    with np.errstate(over="ignore"):
        return float(np.sum(np.float64(ratio) ** np.arange(terms)))


def model_sum(constants: Constants, horizon: int, gamma: float, form: Form = "corrected") -> float:
    """The model term's own sum, `sum_{t<H} gamma^t eps_f L_r (L^{t+1} - 1)/(L - 1) K^t`.

    Appendix A.1. The corrected form is that sum. The printed closed form drops L_r and lets L
    multiply both of its parts, `L eps_f/(L-1) [((gKL)^H - 1)/(gKL - 1) - ((gK)^H - 1)/(gK - 1)]`,
    which is `eps_f sum_{t<H} (gamma K)^t L (L^t - 1)/(L - 1)`: written so, it has no singularity.
    """
    check_discount(gamma)
    c, steps = constants, range(check_count("horizon", horizon, 0))
    weight = np.float64(gamma * c.K)
    with np.errstate(over="ignore", invalid="ignore"):
        if _corrected(form):
            terms = sum(weight**t * geometric(c.L, t + 1) for t in steps)
            return _bound(_times(c.eps_f * c.L_r, terms))
        return _bound(_times(c.eps_f * c.L, sum(weight**t * geometric(c.L, t) for t in steps)))


def sensitivity_gap(constants: Constants, t: int) -> float:
    """Bound on `||d x_hat_t / d theta - d x_t / d theta||`, corrected form.

    `D_t = (1 + L_pi) sum_{k<t} L^{t-1-k} (eps_f C K^k + L_f eps_pi) + eps_pi`, `D_0 = 0`: unlike
    the printed recursion it keeps the policy's own parameter derivative, which enters at every
    step and differs between the two trajectories (eps_pi), and the constant C.
    """
    t = check_count("t", t, 0)
    c, k = constants, np.arange(t)
    if t == 0 or not (c.eps_f or c.eps_pi):
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        growth = np.float64(c.L) ** (t - 1 - k)
        source = _times(c.eps_f * c.C, np.float64(c.K) ** k) + c.L_f * c.eps_pi
        return _bound((1.0 + c.L_pi) * np.sum(growth * source) + c.eps_pi)


def lemma_4_1(constants: Constants, horizon: int, gamma: float, form: Form = "corrected") -> float:
    """Bound on `||grad J_H(true) - grad J_H(learned)||`, Frobenius norm over K's entries.

    Printed: `model_sum + eps_Q (gamma K)^H + L_Q eps_f (L^H - 1)/(L - 1) (gamma K)^H`.
    Corrected: `sum_{t<H} gamma^t (eps_r C K^t + L_r D_t) + gamma^H (eps_Q C K^H + L_Q D_H)`, with
    `D_t` from `sensitivity_gap`.

    Args:
        constants: from `lipschitz_constants`, or chosen by hand.
        horizon: H.
        gamma: discount.
        form: which of the two.

    Returns:
        inf where it is larger than any number.
    """
    check_discount(gamma)
    c, H = constants, check_count("horizon", horizon, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        if not _corrected(form):
            error = c.eps_Q + float(_times(c.L_Q * c.eps_f, geometric(c.L, H)))
            terminal = _times(error, np.float64(gamma * c.K) ** H)
            return _bound(model_sum(c, H, gamma, "printed") + terminal)
        growth = c.C * np.float64(c.K) ** np.arange(H + 1)
        gaps = np.array([sensitivity_gap(c, t) for t in range(H + 1)])
        discounts = np.float64(gamma) ** np.arange(H + 1)
        # At t = 0 both trajectories still agree in what a reward's derivative is.
        differences = _times(c.eps_r, growth[:H]) * (np.arange(H) > 0)
        rewards = np.sum(discounts[:H] * (differences + _times(c.L_r, gaps[:H])))
        terminal = discounts[H] * (_times(c.eps_Q, growth[H]) + _times(c.L_Q, gaps[H]))
        return _bound(rewards + terminal)


def lemma_4_2(
    constants: Constants,
    horizon: int,
    gamma: float,
    step_size: float,
    curvature: float,
    form: Form = "corrected",
) -> float:
    """Bound on the total variation between the policies after an exact and a learned step.

    `step_size * sqrt(curvature / 2) * lemma_4_1`, where `KL <= curvature ||theta - theta_hat||^2`.
    The step itself is sound (Pinsker); the corrected form differs by the Lemma 4.1 it rests on,
    and by never exceeding 1, the largest total variation there is.

    Args:
        constants: see `lemma_4_1`.
        horizon: H.
        gamma: discount.
        step_size: alpha, the gradient step.
        curvature: c_tilde, half the largest eigenvalue of the policy's Fisher information over
            the states that count (for a linear policy it grows with the state: bound the states).
        form: printed or corrected.
    """
    check_nonnegative(step_size=step_size, curvature=curvature)
    gradient = lemma_4_1(constants, horizon, gamma, form)
    bound = _times(step_size * np.sqrt(curvature / 2.0), gradient)
    return min(float(bound), 1.0) if _corrected(form) else float(bound)


def return_loss(
    total_variation: float, r_max: float, gamma: float, form: Form = "corrected"
) -> float:
    """Bound on `|J(pi) - J(pi')|` when `max_s D_TV(pi, pi') <= total_variation`, `|r| <= r_max`.

    Printed (Appendix A.3): `2 r_max / (1 - gamma) D_TV`. Corrected: `2 r_max / (1 - gamma)^2 D_TV`,
    because a different action also shifts every later state.
    """
    check_discount(gamma)
    check_nonnegative(total_variation=total_variation, r_max=r_max)
    effective_horizon = 1.0 / (1.0 - gamma)
    power = 2 if _corrected(form) else 1
    return 2.0 * r_max * effective_horizon**power * total_variation


def theorem_4_1(
    constants: Constants,
    horizon: int,
    gamma: float,
    step_size: float,
    curvature: float,
    r_max: float,
    form: Form = "corrected",
) -> float:
    """How much return a learned gradient step may lose against the exact one (>= 0).

    Printed: `2 alpha r_max/(1 - gamma) * alpha c_3 (eps_f c_1 + eps_Q c_2)`, with the step size
    twice. Corrected: `return_loss` of `lemma_4_2`, with it once.

    Args:
        constants: see `lemma_4_1`.
        horizon: H.
        gamma: discount.
        step_size: alpha.
        curvature: see `lemma_4_2`.
        r_max: bound on |r|.
        form: printed or corrected.
    """
    variation = lemma_4_2(constants, horizon, gamma, step_size, curvature, form)
    extra = 1.0 if _corrected(form) else step_size
    # The loss is linear in the variation, which may be infinite as printed.
    return float(_times(extra * return_loss(1.0, r_max, gamma, form), variation))
