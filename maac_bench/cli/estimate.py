"""`maac-bench estimate`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

import analytic
from analytic.lqg import Array
from maac_bench.checks import require_distinct
from maac_bench.cli.scores import AtHorizon, describe, frame, table
from maac_bench.estimators import Estimator, EstimatorNoise, Settings, make_estimator
from maac_bench.estimators.base import CriticRole
from maac_bench.names import described, speaking
from maac_bench.scoring import expectation, score
from maac_bench.streams import Streams
from maac_bench.tasks import Task, make_task, require_its_lqg, require_lqg
from maac_bench.types import Gradient, Policy, Problem
from reports.files import require_file, write_csv

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
    horizon: tuple[int, ...] | None = None
    """H, the number of transitions before the critic (or the cut); several give a table;
    default: 4, of dpg 0"""
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
    model_scale: float = 1.0
    """A of the dynamics that are rolled out, as a multiple of the true one; 1: the true dynamics"""
    seed: int = 0
    """first seed; replicates take consecutive ones"""
    out: Path | None = None
    """CSV for the scores, a row per H"""

    def execute(self) -> None:
        """Print the scores."""
        for name in ("samples", "replicates"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be at least 2, got {getattr(self, name)}")
        if self.horizon == ():
            raise ValueError("horizon must have a value, or be left out")
        if self.horizon:
            require_distinct(self, "horizon")
        task = make_task(self.task)
        estimators = [self._estimator(horizon) for horizon in self.horizon or (None,)]
        role = estimators[0].critic_role
        if role == "none" and self.critic_share != _CRITIC_SHARE:
            raise ValueError(f"{self.estimator} has no critic: leave critic_share at its default")
        lqg = require_lqg(task)
        if ":" in self.task:
            require_its_lqg(task)
        gain, _ = self._evaluated(lqg, "gain_share")
        critic = self._critic(lqg, role)
        model = self._model(lqg, estimators)
        if self.out is not None:
            require_file(self.out)
        scores = [self._scored(task, one, gain, critic, model) for one in estimators]
        print(self._described(estimators))
        print(describe(scores[0]) if len(scores) == 1 else table(scores))
        for one in scores:
            self._say_if_unlikely(one, role)
        if self.out is not None:
            left_out = ("horizon", "seed", "out")
            given = {name: value for name, value in asdict(self).items() if name not in left_out}
            write_csv(frame(scores, {**given, "random_seed": self.seed}), self.out)

    def _estimator(self, horizon: int | None) -> Estimator:
        """At one H; ValueError for a setting that it has no use for."""
        settings = Settings(
            horizon=Settings().horizon if horizon is None else horizon,
            terminal_samples=self.terminal_samples,
            smoothing=self.smoothing,
        )
        estimator = make_estimator(self.estimator, settings)
        if horizon not in (None, estimator.settings.horizon):
            raise ValueError(f"{self.estimator} has no use for horizon: leave it at its default")
        return estimator

    def _evaluated(self, lqg: analytic.LQG, share: str) -> tuple[Array, analytic.Evaluation]:
        """The gain that an option asks for, and its values; ValueError naming the option."""
        asked = getattr(self, share)
        gain = asked * analytic.optimal_gain(lqg)
        try:
            return gain, analytic.evaluate(lqg, gain)
        except ValueError as error:
            raise ValueError(f"{share} {asked:g}: {error}") from error

    def _critic(self, lqg: analytic.LQG, role: CriticRole) -> analytic.QuadraticCritic:
        """The exact Q-function of a gain; zero for an estimator that has none."""
        if role == "none":
            return analytic.QuadraticCritic(np.zeros((lqg.n + lqg.m,) * 2))
        _, values = self._evaluated(lqg, "critic_share")
        return analytic.QuadraticCritic(values.G, values.d)

    def _model(self, lqg: analytic.LQG, estimators: list[Estimator]) -> analytic.LinearModel | None:
        """The wrong dynamics that are asked for; None: the true ones."""
        if self.model_scale == 1.0:
            return None
        if not any(one.settings.horizon for one in estimators):
            raise ValueError("H = 0 asks no model: leave model_scale at its default")
        if not math.isfinite(self.model_scale):
            raise ValueError(f"model_scale must be finite, got {self.model_scale}")
        return analytic.LinearModel(self.model_scale * lqg.A, lqg.B, lqg.W)

    def _scored(
        self,
        task: Task,
        estimator: Estimator,
        gain: Array,
        critic: analytic.QuadraticCritic,
        model: analytic.LinearModel | None,
    ) -> AtHorizon:
        try:
            result = score(
                task,
                _Named(self.estimator, estimator) if ":" in self.estimator else estimator,
                gain=gain,
                critic=critic,
                samples=self.samples,
                seeds=range(self.seed, self.seed + self.replicates),
                model=model,
            )
        except (ValueError, FloatingPointError):
            raise
        except Exception as error:  # whatever the functions of the user's own row raise
            if ":" not in self.task:
                raise
            raise ValueError(f"task {self.task!r} fails: {described(error)}") from error
        expected = expectation(estimator, require_lqg(task), gain, critic, model)
        return AtHorizon(estimator.settings.horizon, result, expected)

    def _described(self, estimators: list[Estimator]) -> str:
        """What was scored, in a line."""
        role = estimators[0].critic_role
        critic = f"exact, of {self.critic_share:g} times the optimal gain"
        if role == "none":
            critic = "none"
        elif self.critic_share == self.gain_share:
            critic = "the policy's exact one"
        model = "the true one" if self.model_scale == 1.0 else f"A times {self.model_scale:g}"
        if not any(one.settings.horizon for one in estimators):
            model = "none"
        return (
            f"policy: {self.gain_share:g} times the optimal gain; model: {model}; critic: "
            f"{critic}; {self.replicates} estimates of {self.samples} samples"
        )

    def _say_if_unlikely(self, scored: AtHorizon, role: CriticRole) -> None:
        """A line where an estimate's mean is not what it is said to estimate, and why it may be."""
        error = scored.score.bias_error
        if self.replicates < _ENOUGH or not scored.distance > max(_UNLIKELY * error, _ROUNDING):
            return
        if ":" in self.estimator:
            reason = f"the critic_role {role!r} says it estimates; one with another mean says 'own'"
        elif self.estimator == "zeroth-order":
            reason = "it estimates without smoothing: see --smoothing"
        else:
            reason = "it estimates: the row's true start states may not be those of its lqg"
        print(
            f"the mean estimate at H = {scored.horizon} is {scored.distance:.3g} (by chance "
            f"{error:.2g}) of the gradient's length from what {reason}"
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
