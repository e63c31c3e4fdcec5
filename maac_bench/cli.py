"""The commands of `maac-bench`: see `Command`."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, cast

import numpy as np
import torch
import tyro

import analytic
from maac_bench.config import Config
from maac_bench.estimators import ESTIMATORS, Settings, make_estimator
from maac_bench.names import lookup
from maac_bench.planning import PlannerSettings
from maac_bench.presets import ALGORITHMS, Size, preset
from maac_bench.run_evaluation import evaluate_run
from maac_bench.run_gradient_error import Measurement, gradient_error, summary
from maac_bench.scoring import Score, score
from maac_bench.tasks import TASKS, make_task, require_lqg
from maac_bench.training import RunSettings, train
from reports import comparison_output, gradient_error_figure
from reports.comparison import compare
from reports.files import PUBLISHED_DIGITS, ROOT, require_writable, write_csv
from reports.page.build import write_page
from reports.provenance import record
from reports.registry import REPORTS, folder
from reports.style import use_style
from reports.units import RUNS

_QUESTION = "How good is the gradient when you differentiate through a learned model?"
DEFAULT_TASK, DEFAULT_ALGORITHM = "maac_bench/HalfCheetah-v0", "maac"


@dataclass(frozen=True)
class Train:
    """Train an algorithm on a task; the same command continues an interrupted run.

    Every field of the configuration is an option; the defaults shown are those of --algo, --task
    and --size.
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    out: Path
    """run directory"""
    task: str = DEFAULT_TASK
    """one of `maac-bench list`, or any Gymnasium identifier (your own: module:Name-v0)"""
    algo: str = DEFAULT_ALGORITHM
    """which algorithm; `maac-bench list` names them"""
    size: Size = "paper"
    """nets, batches and updates as in the paper's code, or smaller"""
    seeds: tuple[int, ...] = (0,)
    """independent runs, trained together in one process"""
    rollouts: int = 50
    """episodes in all, the random ones included"""
    device: str = "cpu"
    """cpu, cuda or cuda:N"""
    compile: Literal["auto", "yes", "no"] = "auto"
    """fuse the update with torch.compile (a minute at the start); auto: with a C++ compiler"""
    threads: int | None = None
    """CPU threads; default: all cores"""
    keep_every: int = 0
    """rollouts between checkpoints that stay; 0: only the last two"""

    def execute(self) -> None:
        """Train."""
        if self.threads is not None:
            if self.threads < 1:
                raise ValueError(f"threads must be at least 1, got {self.threads}")
            torch.set_num_threads(self.threads)
        compiled = {"auto": None, "yes": True, "no": False}[self.compile]
        settings = RunSettings(
            self.task,
            self.algo,
            self.seeds,
            self.rollouts,
            self.out,
            self.device,
            compiled,
            self.keep_every,
        )
        seeds = " ".join(map(str, self.seeds))
        origin = record(
            f"maac-bench train --task {self.task} --algo {self.algo} --size {self.size} "
            f"--seeds {seeds} --rollouts {self.rollouts} --threads {torch.get_num_threads()}",
            {"threads": torch.get_num_threads()},
        )
        train(settings, self.config, origin)
        print(f"{self.rollouts} rollouts of {self.algo} on {self.task} in {self.out}")


@dataclass(frozen=True)
class Evaluate:
    """Test a run's newest policies: whole episodes with the mean action."""

    directory: tyro.conf.Positional[Path]
    """run directory"""
    episodes: int = 10
    """test episodes per seed"""
    mpc: bool = False
    """plan every action with the learned model (cross-entropy method)"""
    planner: PlannerSettings = field(default_factory=PlannerSettings)

    def execute(self) -> None:
        """Run the episodes, write them into the directory, print the summary."""
        table = evaluate_run(self.directory, self.episodes, self.planner if self.mpc else None)
        name = "evaluation-mpc.csv" if self.mpc else "evaluation.csv"
        write_csv(table, self.directory / name)
        for seed, rows in table.groupby("seed"):
            spread = f" ± {rows['return'].std():.1f}" if len(rows) > 1 else ""
            print(f"seed {seed}: {rows['return'].mean():.1f}{spread}")
        means = table.groupby("seed")["return"].mean()
        spread = f" ± {means.std():.1f} over {len(means)} seeds" if len(means) > 1 else ""
        print(
            f"return {means.mean():.1f}{spread}, {self.episodes} episodes each, "
            f"{table['ms_per_decision'].median():.2f} ms per decision"
        )


@dataclass(frozen=True)
class Compare:
    """Compare runs, grouped by task and algorithm, after as many episodes as all have."""

    directories: tyro.conf.Positional[tuple[Path, ...]]
    """run directories, or folders that hold some"""
    out: Path | None = None
    """CSV for the table: a row per task and algorithm"""
    curves: tuple[Path, ...] = ()
    """published curves to show beside: CSVs with columns step, time, reward, seed"""
    figure: Path | None = None
    """PNG for the learning curves; a PDF is written beside it"""

    def execute(self) -> None:
        """Print the tables; write and draw what was asked for."""
        if self.figure is not None and self.figure.suffix != ".png":
            raise ValueError(f"figure must end in .png, got {self.figure}")
        found = compare(self.directories)
        published = comparison_output.read_published(self.curves, found) if self.curves else None
        print(comparison_output.describe(found))
        if published is not None:
            print("\n".join(comparison_output.beside_published(found, published)))
        if self.out is not None:
            require_writable(self.out.parent)
            write_csv(found.table, self.out, PUBLISHED_DIGITS)
        if self.figure is not None:
            comparison_output.draw(found, published, self.figure)


@dataclass(frozen=True)
class Report:
    """All reports on one page that needs no network, from the committed data."""

    reports: Path = ROOT / "reports"
    """folder of the reports"""
    out: Path | None = None
    """HTML file; default: index.html in that folder"""

    def execute(self) -> None:
        """Write the page."""
        out = self.out or self.reports / "index.html"
        print(f"{out}: {write_page(self.reports, out) / 1e6:.1f} MB")


@dataclass(frozen=True)
class Figure:
    """Run a report's experiment, write its tables and draw it."""

    name: tyro.conf.Positional[str]
    """which report; `maac-bench list` names them"""
    profile: str = "quick"
    """size of the experiment; `maac-bench list` names them"""
    redraw: bool = False
    """only draw, from the data that are there"""
    collect: bool = False
    """publish training runs as far as they are, without training further"""
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
        make_data = report.collect if self.collect else report.make_data
        if make_data is None:
            raise ValueError(f"{self.name} trains no agent: there are no runs to collect")
        require_writable(target)  # before the work, not after it
        if not self.redraw:
            changed = make_data(self.profile, target, self.runs)
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
class GradientError:
    """Measure a run's actor gradient against its task's true dynamics (the paper's MuJoCo tasks).

    Writes gradient-error.csv and gradient-error.png into the run directory.
    """

    directory: tyro.conf.Positional[Path]
    """run directory"""
    measurement: Annotated[Measurement, tyro.conf.arg(name="")] = field(default_factory=Measurement)

    def execute(self) -> None:
        """Measure, write, draw, print the summary."""
        table = gradient_error(self.directory, self.measurement)
        write_csv(table, self.directory / "gradient-error.csv")
        use_style()
        gradient_error_figure.draw(self.directory / "gradient-error.csv")
        print(summary(table))


@dataclass(frozen=True)
class List:
    """List tasks, algorithms, estimators and figures."""

    def execute(self) -> None:
        """Print the names."""
        figures = [f"{name} ({', '.join(r.profiles)})" for name, r in REPORTS.items()]
        rows = {
            "tasks": list(TASKS),
            "algorithms": list(ALGORITHMS),
            "estimators": list(ESTIMATORS),
            "figures": figures,
        }
        for kind, names in rows.items():
            print("\n  ".join([f"{kind}:", *names]))


Command: TypeAlias = Train | Evaluate | Compare | Figure | Report | Estimate | GradientError | List


def parse(arguments: Sequence[str]) -> Command:
    """The command of a command line; the defaults of `train` are those of its preset."""
    chosen = {"task": DEFAULT_TASK, "algo": DEFAULT_ALGORITHM, "size": "paper"}
    if arguments and arguments[0] == "train":
        for here, following in zip_longest(arguments, arguments[1:]):
            name, separator, value = here.removeprefix("--").partition("=")
            if here.startswith("--") and name in chosen and (separator or following):
                chosen[name] = value if separator else following
    config = preset(chosen["algo"], chosen["task"], cast(Size, chosen["size"]))
    defaults = Train(
        config,
        tyro.MISSING,
        task=chosen["task"],
        algo=chosen["algo"],
        size=cast(Size, chosen["size"]),
    )
    commands = (
        Annotated[Train, tyro.conf.subcommand("train", default=defaults)]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Compare, tyro.conf.subcommand("compare")]
        | Annotated[Figure, tyro.conf.subcommand("figure")]
        | Annotated[Report, tyro.conf.subcommand("report")]
        | Annotated[Estimate, tyro.conf.subcommand("estimate")]
        | Annotated[GradientError, tyro.conf.subcommand("gradient-error")]
        | Annotated[List, tyro.conf.subcommand("list")]
    )
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            command: Command = tyro.cli(
                commands,
                args=list(arguments),
                prog="maac-bench",
                description=_QUESTION,
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise ValueError(_sentence(complaint.getvalue())) from end
    return command


def _sentence(box: str) -> str:
    """What a framed complaint says, in one line."""
    lines = [line.strip(" |│") for line in box.splitlines()]
    words = [line for line in lines if line and not set(line) <= set("-+─╭╮╰╯ ")]
    text = " ".join(words[1:])  # after the frame's title
    text = text.partition(" Argument helptext:")[0].partition(" For full helptext")[0]
    return re.sub(r"Error parsing __tyro-dummy-inner__\.config\.(\w+): ", r"\1.", text)
