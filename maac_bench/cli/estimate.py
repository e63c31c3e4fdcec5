"""`maac-bench estimate`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import analytic
from analytic.lqg import Array
from maac_bench.estimators import Settings, make_estimator
from maac_bench.scoring import Score, expectation, score
from maac_bench.tasks import make_task, require_lqg

_CRITIC_SHARE = 0.5


@dataclass(frozen=True)
class Estimate:
    """Score one estimator against the exact policy gradient of an LQG task."""

    task: str = "maac_bench/DoubleIntegrator-v0"
    """which task; `maac-bench list` names them (your own: module:Name)"""
    estimator: str = "pathwise"
    """which estimator; `maac-bench list` names them (your own: module:name)"""
    horizon: int = 4
    """H, the number of transitions before the critic (or the cut)"""
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
            horizon=self.horizon,
            terminal_samples=self.terminal_samples,
            smoothing=self.smoothing,
        )
        estimator = make_estimator(self.estimator, settings)
        if estimator.critic_role == "none" and self.critic_share != _CRITIC_SHARE:
            raise ValueError(f"{self.estimator} has no critic: leave critic_share at its default")
        lqg = require_lqg(task)
        best = analytic.optimal_gain(lqg)
        gain, values = self.gain_share * best, analytic.evaluate(lqg, self.critic_share * best)
        critic = analytic.QuadraticCritic(values.G, values.d)
        try:
            result = score(
                task,
                estimator,
                gain=gain,
                critic=critic,
                samples=self.samples,
                seeds=range(self.seed, self.seed + self.replicates),
            )
        except (ValueError, FloatingPointError):
            raise
        except Exception as error:  # whatever the user's own estimator raises
            if ":" not in self.estimator:
                raise
            raise ValueError(
                f"estimator {self.estimator!r} fails: {type(error).__name__}: {error}"
            ) from error
        print(describe(result, expectation(estimator, lqg, gain, critic)))


def describe(result: Score, expected: Array | None) -> str:
    """A score as readable lines.

    Args:
        result: from `scoring.score`.
        expected: the estimator's exact mean, from `scoring.expectation`; None: not known.
    """
    in_expectation = ""
    if expected is not None:
        bias = np.linalg.norm(expected - result.truth) / np.linalg.norm(result.truth)
        in_expectation = f", in expectation {bias:.4g}"
    with np.printoptions(precision=4, suppress=True, threshold=20, edgeitems=4):
        return "\n".join(
            [
                f"exact gradient of the return   {result.truth}",
                f"gradient that it estimates     {'its own' if expected is None else expected}",
                f"mean estimate                  {result.mean}",
                f"bias / |gradient|              {result.bias:.4g} ± {result.bias_error:.2g}"
                f"{in_expectation}",
                f"cosine to the exact gradient   {result.cosine:.5f}",
                f"std per sample / |gradient|    {result.spread:.4g}",
                f"error of one estimate          {result.rms_error:.4g} (relative, RMS)",
            ]
        )
