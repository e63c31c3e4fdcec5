"""`maac-bench estimate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

import analytic
from analytic.lqg import Array
from maac_bench.estimators import Estimator, EstimatorNoise, Settings, make_estimator
from maac_bench.estimators.base import CriticRole
from maac_bench.names import speaking
from maac_bench.scoring import Score, cosine, expectation, score
from maac_bench.streams import Streams
from maac_bench.tasks import make_task, require_its_lqg, require_lqg
from maac_bench.types import Gradient, Policy, Problem

_CRITIC_SHARE = 0.5
# Standard errors, of as many estimates at least: not seen by chance.
_UNLIKELY, _ENOUGH = 5.0, 8
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Estimate:
    """Score one estimator against the exact policy gradient of an LQG task."""

    task: str = "maac_bench/DoubleIntegrator-v0"
    """which task; `maac-bench list` names them (your own: module:Name)"""
    estimator: str = "pathwise"
    """which estimator; `maac-bench list` names them (your own: module:name)"""
    horizon: int | None = None
    """H, the number of transitions before the critic (or the cut); default: 4, of dpg 0"""
    terminal_samples: int = 1
    """actions averaged in the terminal value"""
    smoothing: float = 0.01
    """standard deviation of the zeroth-order perturbation"""
    samples: int = 256
    """rollouts per gradient, N"""
    replicates: int = 32
    """independent gradients, to measure bias and spread"""
    gain_share: float = 0.5
    """the policy's gain as a share of the optimal one"""
    critic_share: float = _CRITIC_SHARE
    """the gain whose exact Q-function is the critic, likewise; equal to gain_share: exact critic"""
    seed: int = 0
    """first seed; replicates take consecutive ones"""

    def execute(self) -> None:
        """Print the score."""
        for name in ("samples", "replicates"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be at least 2, got {getattr(self, name)}")
        task = make_task(self.task)
        settings = Settings(
            horizon=Settings().horizon if self.horizon is None else self.horizon,
            terminal_samples=self.terminal_samples,
            smoothing=self.smoothing,
        )
        estimator = make_estimator(self.estimator, settings)
        if self.horizon not in (None, estimator.settings.horizon):
            raise ValueError(f"{self.estimator} has no use for horizon: leave it at its default")
        if estimator.critic_role == "none" and self.critic_share != _CRITIC_SHARE:
            raise ValueError(f"{self.estimator} has no critic: leave critic_share at its default")
        lqg = require_lqg(task)
        if ":" in self.task:
            require_its_lqg(task)
        gain, _ = self._evaluated(lqg, "gain_share")
        if estimator.critic_role == "none":
            critic = analytic.QuadraticCritic(np.zeros((lqg.n + lqg.m,) * 2))
        else:
            _, values = self._evaluated(lqg, "critic_share")
            critic = analytic.QuadraticCritic(values.G, values.d)
        try:
            result = score(
                task,
                _Named(self.estimator, estimator) if ":" in self.estimator else estimator,
                gain=gain,
                critic=critic,
                samples=self.samples,
                seeds=range(self.seed, self.seed + self.replicates),
            )
        except (ValueError, FloatingPointError):
            raise
        except Exception as error:  # whatever the functions of the user's own row raise
            if ":" not in self.task:
                raise
            raise ValueError(
                f"task {self.task!r} fails: {type(error).__name__}: {error}"
            ) from error
        expected = expectation(estimator, lqg, gain, critic)
        print(describe(result, expected))
        if expected is not None and self.replicates >= _ENOUGH:
            self._say_if_unlikely(result, expected, estimator.critic_role)

    def _evaluated(self, lqg: analytic.LQG, share: str) -> tuple[Array, analytic.Evaluation]:
        """The gain that an option asks for, and its values; ValueError naming the option."""
        asked = getattr(self, share)
        gain = asked * analytic.optimal_gain(lqg)
        try:
            return gain, analytic.evaluate(lqg, gain)
        except ValueError as error:
            raise ValueError(f"{share} {asked:g}: {error}") from error

    def _say_if_unlikely(self, result: Score, expected: Array, role: CriticRole) -> None:
        """A line where an estimate's mean is not what it is said to estimate, and why it may be."""
        distance = np.linalg.norm(result.mean - expected) / np.linalg.norm(result.truth)
        if distance <= max(_UNLIKELY * result.bias_error, _ROUNDING):
            return
        if ":" in self.estimator:
            reason = f"the critic_role {role!r} says it estimates; one with another mean says 'own'"
        elif self.estimator == "zeroth-order":
            reason = "it estimates without smoothing: see --smoothing"
        else:
            reason = "it estimates: the row's true start states may not be those of its lqg"
        print(
            f"the mean estimate is {distance:.3g} ± {result.bias_error:.2g} of the gradient's "
            f"length from what {reason}"
        )


@dataclass(frozen=True)
class _Named:
    """An estimator of the user's own: what it raises is said to be its."""

    name: str
    own: Estimator

    @property
    def settings(self) -> Settings:
        return self.own.settings

    @property
    def critic_role(self) -> CriticRole:
        return self.own.critic_role

    def draw(
        self, streams: Streams, problem: Problem, policy: Policy, start: Tensor
    ) -> EstimatorNoise:
        with speaking(f"estimator {self.name!r}"):
            return self.own.draw(streams, problem, policy, start)

    def gradient(
        self, problem: Problem, policy: Policy, start: Tensor, noise: EstimatorNoise
    ) -> Gradient:
        with speaking(f"estimator {self.name!r}"):
            found: Any = self.own.gradient(problem, policy, start, noise)
            return (found,) if isinstance(found, Tensor) else tuple(found)


def describe(result: Score, expected: Array | None) -> str:
    """A score as readable lines.

    Args:
        result: from `scoring.score`.
        expected: the estimator's exact mean, from `scoring.expectation`; None: not known.
    """
    exact_bias = exact_cosine = ""
    if expected is not None:
        bias = np.linalg.norm(expected - result.truth) / np.linalg.norm(result.truth)
        exact_bias = f", in expectation {bias:.4g}"
        exact_cosine = f", in expectation {cosine(expected, result.truth):.4f}"
    with np.printoptions(precision=4, suppress=True, threshold=20, edgeitems=4):
        return "\n".join(
            [
                f"exact gradient of the return   {result.truth}",
                f"gradient that it estimates     {'its own' if expected is None else expected}",
                f"mean estimate                  {result.mean}",
                f"bias / |gradient|              {result.bias:.4g} ± {result.bias_error:.2g}"
                f"{exact_bias}",
                f"cosine to the exact gradient   {result.cosine:.4f} ± {result.cosine_error:.2g}"
                f"{exact_cosine}",
                f"std per sample / |gradient|    {result.spread:.4g}",
                f"error of one estimate          {result.rms_error:.4g} (relative, RMS)",
            ]
        )
