"""Gradients off the policy that has optimised them, where everything is known in closed form.

A learner with a wrong model and a critic that believes in other wrong dynamics is where its own
H-step gradient is zero, and the exact one is not: whatever angle is measured near there is that of
a remainder. The same model and the same critic are then scored at gains a random step away. There
the step back is a good direction for whoever started near an optimum; what counts is by how much a
gradient is a better one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import root

import analytic
from analytic.lqg import Array
from maac_bench.scoring import cosine
from maac_bench.tasks import make_task, require_lqg

_SOLVED = 1e-6  # of the learner's gradient at half of that gain


@dataclass(frozen=True)
class Exact:
    """The dials.

    error: length of what A and B are off by, as a share of their own. draws: of such errors.
    displacements: as shares of the gain's length. directions: of each displacement.
    """

    tasks: tuple[str, ...] = ("maac_bench/DoubleIntegrator-v0", "maac_bench/RandomLQG6-v0")
    horizons: tuple[int, ...] = (0, 2, 4, 8)
    error: float = 0.01
    draws: int = 20
    displacements: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3)
    directions: int = 32


def displaced_cosines(dials: Exact, task: str, draw: int) -> pd.DataFrame:
    """A row per H, displacement and direction: the cosine with the exact gradient, and its size.

    step_back is the cosine of the step back to the own optimum, which asks neither model nor
    critic: what a gradient is worth is what it has beyond that.

    No row where the learner's objective has no stationary gain near the optimal one, or the gain
    beside it has no finite return.
    """
    lqg, random = require_lqg(make_task(task)), np.random.default_rng(draw)
    model, believed = (_wrong(lqg, dials.error, random) for _ in range(2))
    steps = random.standard_normal((dials.directions, lqg.m, lqg.n))
    units = steps / np.linalg.norm(steps, axis=(1, 2), keepdims=True)
    rows = []
    for horizon in dials.horizons:
        gain = own_optimum(lqg, horizon, model, believed)
        if gain is None:
            continue
        critic = _critic(believed, gain)
        for share in dials.displacements:
            for direction, unit in enumerate(units):
                beside = gain + share * np.linalg.norm(gain) * unit
                found = _compare(lqg, beside, horizon, model.dynamics, critic, -unit)
                if found is not None:
                    rows.append((task, draw, horizon, share, direction, *found))
    columns = ["task", "draw", "horizon", "displacement", "direction", "cosine", "norm_ratio"]
    columns.append("step_back")
    return pd.DataFrame(rows, columns=columns)


def own_optimum(
    lqg: analytic.LQG, horizon: int, model: analytic.LQG, believed: analytic.LQG
) -> Array | None:
    """The gain at which a learner's own gradient is zero, its critic that gain's; None: not found.

    A root that is found from the optimum of what it believes; half of it has to be stable there.

    Args:
        lqg: the problem.
        horizon: H.
        model: the same problem with the dynamics that the learner rolls out.
        believed: with those whose Q-function the critic is.
    """

    def gradient(flat: Array) -> Array:
        gain = flat.reshape(lqg.m, lqg.n)
        try:
            critic = _critic(believed, gain)
            return analytic.maac_gradient(lqg, gain, horizon, model.dynamics, critic).ravel()
        except ValueError:  # an unstable gain, or one of NaNs that MINPACK tries
            return np.full(flat.shape, np.nan)

    found = root(gradient, analytic.optimal_gain(believed).ravel()).x
    left, usual = (np.linalg.norm(gradient(share * found)) for share in (1.0, 0.5))
    return found.reshape(lqg.m, lqg.n) if left < _SOLVED * usual else None


def _compare(
    lqg: analytic.LQG,
    gain: Array,
    horizon: int,
    model: analytic.LinearModel,
    critic: analytic.QuadraticCritic,
    back: Array,
) -> tuple[float, float, float] | None:
    """The learner's gradient against the exact one: cosine, ratio of lengths; and that of `back`.

    None: the gain has no return.
    """
    try:
        exact = analytic.policy_gradient(lqg, gain).ravel()
        learned = analytic.maac_gradient(lqg, gain, horizon, model, critic).ravel()
    except analytic.UnstablePolicyError:
        return None
    ratio = float(np.linalg.norm(learned) / np.linalg.norm(exact))
    return cosine(learned, exact), ratio, cosine(back.ravel(), exact)


def _wrong(lqg: analytic.LQG, error: float, random: np.random.Generator) -> analytic.LQG:
    """The problem with other dynamics."""

    def off(matrix: Array) -> Array:
        step = random.standard_normal(matrix.shape)
        return matrix + error * np.linalg.norm(matrix) / np.linalg.norm(step) * step

    A, B = off(lqg.A), off(lqg.B)
    return analytic.LQG(A, B, lqg.Q, lqg.R, lqg.W, lqg.action_cov, lqg.M0, lqg.gamma)


def _critic(believed: analytic.LQG, gain: Array) -> analytic.QuadraticCritic:
    values = analytic.evaluate(believed, gain)
    return analytic.QuadraticCritic(values.G, values.d)
