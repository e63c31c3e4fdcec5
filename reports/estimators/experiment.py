"""What the estimator comparison runs: replicated estimates of a known gradient.

Dynamics are the true ones; the critic is the exact Q-function of a weaker gain, as a critic that
lags behind its policy would be. Every estimator's expectation is then known in closed form (the
zeroth-order one's up to its smoothing), and so is where its error must stop falling.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import pandas as pd

import analytic
from analytic.lqg import Array
from maac_bench.estimators import ESTIMATORS, Estimator, Settings, make_estimator
from maac_bench.estimators.pathwise import BackpropagationThroughTime, ModelAugmented
from maac_bench.estimators.score_function import ScoreFunction
from maac_bench.names import lookup
from maac_bench.scoring import expectation, score
from maac_bench.tasks import make_task, require_lqg
from reports.units import Experiment

POLICY_SHARE, CRITIC_SHARE = 0.5, 0.4
"""The policy's gain, and the gain whose Q-function the critic is, as shares of the optimal one."""

# Rewards until what is cut off no longer matters: for estimators without a critic.
FULL_HORIZON = {
    "maac_bench/DoubleIntegrator-v0": 200,
    "maac_bench/RandomLQG6-v0": 100,
    "maac_bench/RandomLQG20-v0": 100,
}
_MEASURES = ("bias", "bias_error", "cosine", "spread", "rms_error")
_LARGEST_CLOSED_FORM = {"pathwise": 700, "score": 80}  # noise dimensions


@dataclass(frozen=True)
class Profile:
    """The size of the experiment."""

    replicates: int
    samples: tuple[int, ...]
    horizon: int = 8


PROFILES = {
    "quick": Profile(replicates=32, samples=(16, 64, 256, 1024, 4096)),
    "paper": Profile(replicates=64, samples=(16, 64, 256, 1024, 4096, 16384)),
}


@dataclass(frozen=True)
class Setup:
    """One estimator on one task, as the oracle sees it."""

    lqg: analytic.LQG
    gain: Array
    critic: analytic.QuadraticCritic
    estimator: Estimator


def experiment(profile_name: str) -> Experiment:
    """One unit per task and estimator; ValueError naming the valid profiles."""
    profile = lookup("profile", profile_name, PROFILES)
    units = {
        f"{task.partition('/')[2]}-{name}": partial(run_unit, profile, task, name)
        for task in FULL_HORIZON
        for name in ESTIMATORS
    }
    configuration = {"profile": profile_name, "tasks": list(FULL_HORIZON), **asdict(profile)}
    return Experiment("estimators", units, configuration)


def prepare(task_name: str, name: str, horizon: int) -> Setup:
    """The oracle's side of one unit; estimators without a critic get the full horizon."""
    lqg = require_lqg(make_task(task_name))
    best = analytic.optimal_gain(lqg)
    stale = analytic.evaluate(lqg, CRITIC_SHARE * best)
    critic = analytic.QuadraticCritic(stale.G, stale.d)
    estimator = make_estimator(name, Settings(horizon=0 if name == "dpg" else horizon))
    if estimator.critic_role in ("baseline", "none"):
        estimator = make_estimator(name, Settings(horizon=FULL_HORIZON[task_name]))
    return Setup(lqg, POLICY_SHARE * best, critic, estimator)


def exact_spread(setup: Setup) -> float:
    """Root of the summed per-sample variances in closed form; NaN where there is none."""
    estimator, horizon = setup.estimator, setup.estimator.settings.horizon
    n, m = setup.lqg.n, setup.lqg.m
    size = n + horizon * (n + m) + m
    if estimator.critic_role == "own":  # also where it is built from one that has a closed form
        return float("nan")
    if isinstance(estimator, ScoreFunction) and size <= _LARGEST_CLOSED_FORM["score"]:
        moments = analytic.score_function_moments(
            setup.lqg,
            setup.gain,
            horizon,
            setup.critic,
            bootstrap=estimator.bootstrap,
            baseline=estimator.baseline,
        )
    elif isinstance(estimator, ModelAugmented | BackpropagationThroughTime) and (
        size <= _LARGEST_CLOSED_FORM["pathwise"]
    ):
        nothing = analytic.QuadraticCritic(np.zeros((n + m, n + m)))
        critic = setup.critic if estimator.critic_role == "closes" else nothing
        moments = analytic.pathwise_moments(setup.lqg, setup.gain, horizon, critic=critic)
    else:
        return float("nan")
    return float(np.sqrt(moments.variance.sum()))


def run_unit(profile: Profile, task_name: str, name: str) -> pd.DataFrame:
    """Replicated estimates of one estimator on one task.

    Returns:
        One row per number of samples N; errors are relative to the exact gradient's L2 norm.
        bias_exact and spread_exact are closed forms, NaN where there is none; the others as in
        `scoring.Score`.
    """
    task, setup = make_task(task_name), prepare(task_name, name, profile.horizon)
    truth = analytic.policy_gradient(setup.lqg, setup.gain).ravel()
    expected = expectation(setup.estimator, setup.lqg, setup.gain, setup.critic)
    size = float(np.linalg.norm(truth))
    constants = {
        "task": task_name,
        "estimator": name,
        "horizon": setup.estimator.settings.horizon,
        "replicates": profile.replicates,
        "bias_exact": np.nan if expected is None else np.linalg.norm(expected - truth) / size,
        "spread_exact": exact_spread(setup) / size,
    }
    rows = []
    for samples in profile.samples:
        result = score(
            task, setup.estimator, setup.gain, setup.critic, samples, range(profile.replicates)
        )
        numbers = {measure: getattr(result, measure) for measure in _MEASURES}
        rows.append({**constants, "samples": samples, **numbers})
    return pd.DataFrame(rows)
