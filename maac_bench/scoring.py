"""Score a gradient estimator against the exact gradient of an LQG task."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import analytic
from analytic.lqg import Array
from analytic.objective import resolve
from maac_bench.critics import QuadraticCritic
from maac_bench.estimators import Estimator
from maac_bench.estimators.base import require_role
from maac_bench.policies import LinearGaussian
from maac_bench.streams import Streams
from maac_bench.tasks import Task, linear_dynamics, require_lqg, require_true
from maac_bench.types import Problem

_SMALLEST_GRADIENT = 1e-8  # of what it is the difference of: below it, rounding
_LARGEST_CHUNK = 2_000_000  # samples * steps in memory at a time
_LARGEST_ESTIMATE = 100_000_000  # of one estimate, which is never split, on a task of that width
_USUAL_WIDTH = 3  # numbers of a state and an action; wider ones may have fewer steps


class Score(NamedTuple):
    """How an estimator did; errors are relative to the exact gradient's L2 norm.

    truth: exact gradient of the return, flattened. mean: of all replicates, flattened.
    bias: `|mean - truth|`; bias_error: root-mean-square length of the mean's own Monte-Carlo error
    (what `bias` would be without any). cosine: of mean and truth; cosine_error: its standard error,
    by leaving out each replicate once (too large with few of them).
    spread: the estimate's standard deviation times sqrt(N): that of one sample, where the samples
    are independent (the inverse-variance combination's are not).
    rms_error: of one estimate of N samples.
    """

    truth: Array
    mean: Array
    bias: float
    bias_error: float
    cosine: float
    cosine_error: float
    spread: float
    rms_error: float


def expectation(
    estimator: Estimator,
    lqg: analytic.LQG,
    gain: Array,
    critic: analytic.QuadraticCritic,
    model: analytic.LinearModel | None = None,
) -> Array | None:
    """An estimator's exact mean at K = `gain`, flattened (zeroth-order: without its smoothing).

    The gradient of the H-step objective closed by `critic`, or of the return cut after H rewards,
    of rollouts of `model` (None: the true dynamics); None for an estimator whose target is its own.
    """
    horizon = estimator.settings.horizon
    require_role(estimator)
    role = estimator.critic_role
    if role == "own":
        return None
    if role != "closes":  # what H rewards leave to the critic is not counted
        critic = analytic.QuadraticCritic(np.zeros_like(critic.G))
    return analytic.maac_gradient(lqg, gain, horizon, model, critic).ravel()


def cosine(one: Array, other: Array) -> float:
    """Of the angle between two vectors; NaN where one is zero."""
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else math.nan


def _cosine_error(estimates: Array, truth: Array) -> float:
    """Jackknife standard error of the mean estimate's cosine (Efron and Stein 1981)."""
    count = len(estimates)
    others = (estimates.sum(axis=0) - estimates) / (count - 1)
    cosines = np.array([cosine(mean, truth) for mean in others])
    return float(np.sqrt((count - 1) * cosines.var()))


def _gradient_scale(lqg: analytic.LQG, gain: Array) -> float:
    """Length of the two terms whose difference the gradient is, `2 G_aa K S` and `2 G_as S`."""
    exact, n = analytic.evaluate(lqg, gain), lqg.n
    terms = exact.G[n:, n:] @ gain @ exact.S, exact.G[n:, :n] @ exact.S
    return 2.0 * float(sum(np.linalg.norm(term) for term in terms))


def linear_problem(
    task: Task,
    gain: Array,
    critic: analytic.Evaluation | analytic.QuadraticCritic,
    stack: int,
    model: analytic.LinearModel | None = None,
) -> tuple[Problem, LinearGaussian]:
    """An LQG task's dynamics with a quadratic critic, and `stack` copies of a linear policy.

    The dynamics are those of `model`; None: the true ones.

    Raises:
        ValueError: the task has no closed form.
    """
    lqg = require_lqg(task)
    as_tensor = torch.get_default_dtype()
    policy = LinearGaussian(
        torch.tensor(gain, dtype=as_tensor).expand(stack, -1, -1),
        torch.tensor(_noise_scale(lqg.action_cov), dtype=as_tensor),
    )
    q_function = QuadraticCritic(
        torch.tensor(critic.G, dtype=as_tensor), torch.tensor(critic.d, dtype=as_tensor)
    )
    dynamics = require_true(task).dynamics if model is None else linear_dynamics(model)
    return Problem(dynamics, task.reward, task.terminated, q_function, task.discount), policy


def _noise_scale(covariance: Array) -> Array:
    """Lower triangular L with L L' = covariance, which may be zero."""
    if not covariance.any():
        return np.zeros_like(covariance)
    try:
        return np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise ValueError("action_cov must be positive definite or zero") from error


def replicate(
    task: Task,
    estimator: Estimator,
    gain: Array,
    critic: analytic.Evaluation | analytic.QuadraticCritic,
    samples: int,
    seeds: Sequence[int],
    model: analytic.LinearModel | None = None,
) -> Array:
    """Independent estimates of the gradient at `gain`, [seeds, m * n], stacked as far as they fit.

    Arguments as for `score`.

    Raises:
        ValueError: one estimate is too large to hold.
        FloatingPointError: an estimate is not finite.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    settings = estimator.settings
    steps = samples * (settings.horizon + settings.terminal_samples)
    if steps * max(1.0, sum(gain.shape) / _USUAL_WIDTH) > _LARGEST_ESTIMATE:
        raise ValueError(
            f"one estimate of {samples} samples, {settings.horizon} steps and "
            f"{settings.terminal_samples} terminal actions is more than memory is planned for: "
            "take fewer samples and more replicates"
        )
    chunk = max(1, _LARGEST_CHUNK // steps)
    estimates = []
    for first in range(0, len(seeds), chunk):
        stacked = seeds[first : first + chunk]
        problem, policy = linear_problem(task, gain, critic, len(stacked), model)
        start = require_true(task).start(Streams(stacked, f"start-{samples}"), samples)
        noise = estimator.draw(Streams(stacked, f"noise-{samples}"), problem, policy, start)
        (gradient,) = _fitting(estimator.gradient(problem, policy, start, noise), policy)
        estimates.append(gradient.double().numpy().reshape(len(stacked), -1))
    result = np.concatenate(estimates)
    if not np.isfinite(result).all():
        raise FloatingPointError(
            f"the gradient estimate on {task.name} is not finite; a shorter horizon may help, or "
            "another smoothing where there is one"
        )
    return result


def _fitting(found: Iterable[object], policy: LinearGaussian) -> list[Tensor]:
    """An estimate's tensors, one for each of the policy's; ValueError if it is something else."""
    parts = list(found)
    fits = [
        isinstance(part, Tensor)
        and isinstance(parameter, Tensor)
        and part.is_floating_point()
        and part.layout == torch.strided
        and part.shape == parameter.shape
        for part, parameter in zip_longest(parts, policy.parameters)
    ]
    if all(fits):
        return [part.detach() for part in parts if isinstance(part, Tensor)]
    wanted = ", ".join(str(list(parameter.shape)) for parameter in policy.parameters)
    gave = ", ".join(
        f"{part.dtype} ({part.layout}) of {list(part.shape)}"
        if isinstance(part, Tensor)
        else type(part).__name__
        for part in parts
    )
    raise ValueError(
        "an estimator gives a floating-point tensor per policy parameter, here one of "
        f"{wanted}; it gave {gave or 'none'}"
    )


def score(
    task: Task,
    estimator: Estimator,
    gain: Array,
    critic: analytic.Evaluation | analytic.QuadraticCritic,
    samples: int,
    seeds: Sequence[int],
    model: analytic.LinearModel | None = None,
) -> Score:
    """Replicated estimates of one gradient, one per seed, against the exact one.

    Args:
        task: a linear-quadratic task.
        estimator: what is scored.
        gain: the policy, [m, n]; must be stable.
        critic: the quadratic Q-function the estimator is given.
        samples: rollouts per estimate, N.
        seeds: one independent estimate each; at least two.
        model: the dynamics that it rolls out; None: the true ones.

    Raises:
        UnstablePolicyError: the gain has no finite return.
        ValueError: the task has no closed form; fewer than two seeds or one sample; a model or a
            critic that is none, or of another size.
        FloatingPointError: an estimate is not finite.
    """
    if len(seeds) < 2:
        raise ValueError(f"a spread needs at least two seeds, got {len(seeds)}")
    lqg = require_lqg(task)
    resolve(lqg, gain, model, critic)  # refuses what is no model, no critic or of another size
    truth = analytic.policy_gradient(lqg, gain).ravel()
    size = float(np.linalg.norm(truth))
    if size <= _SMALLEST_GRADIENT * _gradient_scale(lqg, gain):
        raise ValueError(
            "the exact gradient is zero at this gain: there is nothing to compare with"
        )
    estimates = replicate(task, estimator, gain, critic, samples, seeds, model)
    mean = estimates.mean(axis=0)
    if not np.any(mean):
        raise FloatingPointError(
            "the mean estimate is exactly zero: the horizon has no reward, or the smoothing is "
            "too small for the number format"
        )
    variance = float(estimates.var(axis=0, ddof=1).sum())
    squared_errors = np.sum((estimates - truth) ** 2, axis=1)
    return Score(
        truth=truth,
        mean=mean,
        bias=float(np.linalg.norm(mean - truth)) / size,
        bias_error=float(np.sqrt(variance / len(seeds))) / size,
        cosine=cosine(mean, truth),
        cosine_error=_cosine_error(estimates, truth),
        spread=float(np.sqrt(samples * variance)) / size,
        rms_error=float(np.sqrt(squared_errors.mean())) / size,
    )
