"""The commands: `maac-bench figure | estimate | list`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import tyro

import analytic
from maac_bench.estimators import ESTIMATORS, Settings, make_estimator
from maac_bench.names import lookup
from maac_bench.scoring import Score, score
from maac_bench.tasks import TASKS, make_task, require_lqg
from reports.files import require_writable
from reports.registry import REPORTS, folder
from reports.style import use_style
from reports.units import RUNS


@dataclass(frozen=True)
class Figure:
    """Run a report's experiment, write its tables and draw it."""

    name: tyro.conf.Positional[str]
    """which report; `maac-bench list` names them"""
    profile: str = "quick"
    """size of the experiment: quick or paper"""
    redraw: bool = False
    """only draw, from the data that are there"""
    out: Path | None = None
    """folder for tables and images; default: beside the report's code"""
    runs: Path = RUNS
    """folder for finished units, reused by the next call"""

    def execute(self) -> None:
        """Run, publish, draw."""
        report = lookup("figure", self.name, REPORTS)
        if self.profile not in report.profiles:
            raise ValueError(
                f"unknown profile {self.profile!r} of {self.name}; "
                f"choose from {', '.join(report.profiles)}"
            )
        target = folder(self.name, self.profile) if self.out is None else self.out
        require_writable(target)  # before the work, not after it
        if not self.redraw:
            changed = report.make_data(self.profile, target, self.runs)
            print(f"data in {target}: {'written' if changed else 'reproduced, unchanged'}")
        use_style()
        report.draw(target)
        print(f"drawn: {', '.join(str(p) for p in sorted(target.glob('*.png')))}")


@dataclass(frozen=True)
class Estimate:
    """Score one estimator against the exact policy gradient of an LQG task."""

    task: str = "maac_bench/DoubleIntegrator-v0"
    """which task; `maac-bench list` names them"""
    estimator: str = "pathwise"
    """which estimator; `maac-bench list` names them"""
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
    critic_share: float = 0.5
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
        lqg = require_lqg(task)
        best = analytic.optimal_gain(lqg)
        result = score(
            task,
            estimator,
            gain=self.gain_share * best,
            critic=analytic.evaluate(lqg, self.critic_share * best),
            samples=self.samples,
            seeds=range(self.seed, self.seed + self.replicates),
        )
        print(describe(result))


def describe(result: Score) -> str:
    """A score as readable lines."""
    with np.printoptions(precision=4, suppress=True):
        return "\n".join(
            [
                f"exact gradient of the return   {result.truth}",
                f"mean estimate                  {result.mean}",
                f"bias / |gradient|              {result.bias:.4g} ± {result.bias_error:.2g}",
                f"cosine to the exact gradient   {result.cosine:.5f}",
                f"std per sample / |gradient|    {result.spread:.4g}",
                f"error of one estimate          {result.rms_error:.4g} (relative, RMS)",
            ]
        )


@dataclass(frozen=True)
class List:
    """List tasks, estimators and figures."""

    def execute(self) -> None:
        """Print the names."""
        figures = [f"{name} ({', '.join(r.profiles)})" for name, r in REPORTS.items()]
        rows = {"tasks": list(TASKS), "estimators": list(ESTIMATORS), "figures": figures}
        for kind, names in rows.items():
            print("\n  ".join([f"{kind}:", *names]))


Command: TypeAlias = (
    Annotated[Figure, tyro.conf.subcommand("figure")]
    | Annotated[Estimate, tyro.conf.subcommand("estimate")]
    | Annotated[List, tyro.conf.subcommand("list")]
)
