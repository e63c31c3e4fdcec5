"""Commands that look at runs: `evaluate`, `compare`, `gradient-error` and `landscape`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro
from tqdm import tqdm

from maac_bench.names import module_digests
from maac_bench.planning import PlannerSettings
from maac_bench.run_checkpoints import require_rollout
from maac_bench.run_evaluation import (
    begins_with,
    evaluate_run,
    open_run,
    require_finite_returns,
)
from maac_bench.run_gradient_error import Measurement, gradient_error, summary
from maac_bench.run_landscape import Probe, landscape
from maac_bench.run_landscape import summary as landscape_summary
from maac_bench.run_records import changed_modules, read_identity
from maac_bench.tasks import make_training_task, never
from maac_bench.video import record_video, require_format, require_picture
from reports import comparison_output, gradient_error_figure, landscape_figure
from reports.comparison import compare
from reports.files import PUBLISHED_DIGITS, read_csv, require_file, require_writable, write_csv
from reports.style import use_style


@dataclass(frozen=True)
class Evaluate:
    """Test a run's newest policies: whole episodes with the mean action.

    Writes evaluation.csv (evaluation-mpc.csv) into the run directory; with --rollout 20,
    evaluation-20.csv.
    """

    directory: tyro.conf.Positional[Path]
    """run directory"""
    episodes: int = 10
    """test episodes per seed"""
    mpc: bool = False
    """plan every action with the learned model (cross-entropy method)"""
    rollout: int | None = None
    """test the policies after that many rollouts; default: the newest (see train --keep-every)"""
    video: Path | None = None
    """film the first episode of the first seed: a .gif or .mp4, rendered off-screen"""
    planner: PlannerSettings = field(default_factory=PlannerSettings)

    def execute(self) -> None:
        """Run the episodes, write them into the directory, print the summary."""
        if not self.mpc and self.planner != PlannerSettings():
            raise ValueError("planner options do nothing without --mpc")
        if self.video is not None:
            require_format(self.video)  # before the work, not after it
        planner = self.planner if self.mpc else None
        # Opened once: a run that is training on must not change what is filmed.
        run = open_run(self.directory, self.rollout)
        _say_what_changed(self.directory, run.name, run.rollouts)
        require_writable(self.directory)
        kind = "evaluation-mpc" if self.mpc else "evaluation"
        path = self.directory / f"{_result_name(kind, self.rollout)}.csv"
        dials = {f"planner_{name}": value for name, value in asdict(self.planner).items()}
        _require_alike(path, dials if self.mpc else {})
        if self.video is not None:
            require_picture(run)
            require_file(self.video)
        with tqdm(total=self.episodes, unit="episode", leave=False, delay=1) as bar:
            table = evaluate_run(run, self.episodes, planner, bar.update)
        if self.mpc:
            table = table.assign(**dials)
        print(returns_of(table))
        _say_who_stopped(self.directory, table)
        # Printed first: whatever happens to the file, it was not for nothing.
        if _has_more(path, table):
            print(f"{path} stays: it has these episodes and more")
        else:
            write_csv(table, path)
        require_finite_returns(table)
        if self.video is not None:
            filmed = record_video(run, self.video, planner)
            print(f"{self.video}: an episode of return {filmed:.1f}")


def _has_more(path: Path, table: pd.DataFrame) -> bool:
    """Whether a file has this evaluation and further episodes; a damaged one has not."""
    try:
        return path.exists() and begins_with(read_csv(path, []), table)
    except ValueError:
        return False


def returns_of(table: pd.DataFrame) -> str:
    """An evaluation as readable lines: every seed, and their mean."""
    lines, means = [], []
    for seed, rows in table.groupby("seed"):
        returns = rows["return"].to_numpy()
        means.append(returns.mean())
        spread = f" ± {returns.std(ddof=1):.1f}" if len(returns) > 1 else ""
        lines.append(f"seed {seed}: {means[-1]:.1f}{spread}")
    count = int(table.groupby("seed").size().max())
    spread = f" ± {np.std(means, ddof=1):.1f} over {len(means)} seeds" if len(means) > 1 else ""
    lines.append(
        f"return {np.mean(means):.1f}{spread}, {count} episode{'s' * (count > 1)} each, "
        f"{table['ms_per_decision'].median():.2f} ms per decision"
    )
    if count > 1 or len(means) > 1:
        lines.append("± is the standard deviation of episodes, and of the seeds' means")
    return "\n".join(lines)


_BEFORE = {"displacement": 0.0, "shuffled_model": 0}
"""Dials that files from before they could be chosen do not name, and what they were."""


def _require_alike(path: Path, settings: Mapping[str, Any]) -> None:
    """ValueError where a file holds results of other settings, which would be lost."""
    try:
        held = read_csv(path, []) if path.exists() else None
    except ValueError:  # damaged
        return
    if held is None or not len(held):
        return
    for name, value in settings.items():
        # A column can be missing: of a file from before it was recorded, or could be chosen.
        there = held[name].iloc[0] if name in held else _BEFORE.get(name, value)
        if there != value:
            raise ValueError(
                f"{path} holds results with {name} {there}, not {value}: rename it to keep both"
            )


def _require_all(path: Path, column: str, asked: Sequence[float]) -> None:
    """ValueError where a file holds values that are not measured again, and would be lost."""
    try:
        held = set(read_csv(path, [column])[column].dropna()) if path.exists() else set()
    except ValueError:  # damaged
        return
    if not held <= set(asked):
        others = ", ".join(f"{value:g}" for value in sorted(held - set(asked)))
        raise ValueError(f"{path} also holds the {column}s {others}: rename it to keep them")


def _say_who_stopped(directory: Path, table: pd.DataFrame) -> None:
    """A line for each seed of a run that is not in a table of its checkpoint."""
    for seed in read_identity(directory)["seeds"]:
        if seed not in table["seed"].to_numpy():
            print(f"left out: seed {seed} stopped in training; see its failure.json")


def _say_what_changed(directory: Path, task: str, rollouts: int) -> None:
    """A line for each of the task's modules that is not what the policies were trained with."""
    for module in changed_modules(directory, rollouts, module_digests(task)):
        print(f"{module} has changed since these policies were trained: this is what it says now")


@dataclass(frozen=True)
class Compare:
    """Compare runs, grouped by task and algorithm, after as many episodes as all have.

    What is called an episode is a rollout: several of them where they end early.
    """

    directories: tyro.conf.Positional[tuple[Path, ...]]
    """run directories, or folders that hold some"""
    by_folder: bool = False
    """show every run by itself, under its algorithm and folder: versions of one algorithm, or one
    seed trained twice"""
    out: Path | None = None
    """CSV for the table: a row per task and algorithm"""
    curves: tuple[Path, ...] = ()
    """published curves to show beside: CSVs with columns step, reward, seed"""
    figure: Path | None = None
    """PNG for the learning curves; a PDF is written beside it"""

    def execute(self) -> None:
        """Print the tables; write and draw what was asked for."""
        if self.figure is not None and self.figure.suffix != ".png":
            raise ValueError(f"figure must end in .png, got {self.figure}")
        drawn = [] if self.figure is None else [self.figure, self.figure.with_suffix(".pdf")]
        if self.out is not None and self.out.resolve() in [file.resolve() for file in drawn]:
            raise ValueError(f"{self.out} is one of the figure's files: name another for the table")
        found = compare(self.directories, self.by_folder)
        published = comparison_output.read_published(self.curves, found) if self.curves else None
        for file in (self.out, *drawn):
            if file is not None:
                require_file(file)
        print(comparison_output.describe(found))
        if published is not None:
            print("\n".join(comparison_output.beside_published(found, published)))
        if self.out is not None:
            write_csv(found.table, self.out, PUBLISHED_DIGITS)
        if self.figure is not None:
            comparison_output.draw(found, published, self.figure)


@dataclass(frozen=True)
class GradientError:
    """Measure a run's actor gradient against its task's true dynamics.

    These are MuJoCo for the paper's tasks, and tensors for the linear-quadratic ones and swing-ups.

    Writes gradient-error.csv, .png and .pdf into the run directory; with --rollout 20,
    gradient-error-20.csv and so on.
    """

    directory: tyro.conf.Positional[Path]
    """run directory"""
    rollout: int | None = None
    """which checkpoint; default: the newest (see train --keep-every)"""
    measurement: Annotated[Measurement, tyro.conf.arg(name="")] = field(default_factory=Measurement)

    def execute(self) -> None:
        """Measure, write, draw, print the summary."""
        task = read_identity(self.directory)["task"]
        training = make_training_task(task)  # imports its module, if it is the user's own
        rollout = require_rollout(self.directory, self.rollout)
        _say_what_changed(self.directory, task, rollout)
        require_writable(self.directory)
        path = self.directory / f"{_result_name('gradient-error', self.rollout)}.csv"
        asked = self.measurement
        names = ("through", "reference_steps", "samples", "displacement")
        dials = {name: getattr(asked, name) for name in names}
        dials["shuffled_model"] = int(asked.shuffled_model)
        own = {"random_seed": asked.seed}
        _require_alike(path, {**dials, "replicates": asked.rollouts, **own})
        _require_all(path, "horizon", asked.horizons)
        with _share_bar() as bar:
            table = gradient_error(self.directory, asked, rollout, bar.update).assign(**own)
        print(summary(table))
        if asked.through == "score_function" and training.task.terminated is not never:
            print(
                f"episodes of {task} may end: gradients from true returns then count how actions "
                "move the border of the ending states, the learned one does not, however good the "
                "model (a row whose episodes never end says terminated=maac_bench.tasks.never)"
            )
        _say_who_stopped(self.directory, table)
        write_csv(table, path)
        use_style()
        gradient_error_figure.draw(path)


@dataclass(frozen=True)
class Landscape:
    """Test policies a step up and a step down a run's actor gradient.

    Asks the environment alone, so every task will do. Beside the learned model's gradient:
    controls, and with --reference-steps the gradient through true dynamics.

    Writes landscape.csv, .png and .pdf into the run directory; with --rollout 20, landscape-20.csv
    and so on.
    """

    directory: tyro.conf.Positional[Path]
    """run directory"""
    rollout: int | None = None
    """which checkpoint; default: the newest (see train --keep-every)"""
    probe: Annotated[Probe, tyro.conf.arg(name="")] = field(default_factory=Probe)

    def execute(self) -> None:
        """Measure, write, draw, print the summary."""
        rollout, asked = require_rollout(self.directory, self.rollout), self.probe
        task = read_identity(self.directory)["task"]
        make_training_task(task)  # imports its module, if it is the user's own
        _say_what_changed(self.directory, task, rollout)
        require_writable(self.directory)
        path = self.directory / f"{_result_name('landscape', self.rollout)}.csv"
        names = ("samples", "replicates", "displacement", "episodes")
        own = {"reference_steps": asked.reference_steps, "random_seed": asked.seed}
        _require_alike(path, {name: getattr(asked, name) for name in names} | own)
        reference = [asked.reference_steps] if asked.reference_steps else []
        _require_all(path, "horizon", [*asked.horizons, *reference])
        _require_all(path, "step", [sign * step for step in asked.steps for sign in (1, -1)])
        with _share_bar() as bar:
            table = landscape(self.directory, asked, rollout, bar.update).assign(**own)
        print(landscape_summary(table))
        _say_who_stopped(self.directory, table)
        write_csv(table, path)
        use_style()
        landscape_figure.draw(path)


def _share_bar() -> tqdm:  # type: ignore[type-arg]
    """Progress as a share of 1, with the time left."""
    return tqdm(total=1, bar_format="{l_bar}{bar}| {elapsed}<{remaining}", leave=False, delay=1)


def _result_name(name: str, rollout: int | None) -> str:
    """A name of its own for a checkpoint that was asked for: the newest's results stay."""
    return name if rollout is None else f"{name}-{rollout}"
