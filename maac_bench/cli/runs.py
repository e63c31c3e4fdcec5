"""Commands that look at run directories: `evaluate` and `compare`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from tqdm import tqdm

from maac_bench.cli.results import require_alike, result_name, say_what_changed, say_who_stopped
from maac_bench.planning import PlannerSettings
from maac_bench.run_evaluation import (
    begins_with,
    evaluate_run,
    open_run,
    require_finite_returns,
)
from maac_bench.video import record_video, require_format, require_picture
from reports import comparison_output
from reports.comparison import compare
from reports.files import PUBLISHED_DIGITS, read_csv, require_file, require_writable, write_csv


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
        say_what_changed(self.directory, run.name, run.rollouts)
        require_writable(self.directory)
        kind = "evaluation-mpc" if self.mpc else "evaluation"
        path = self.directory / f"{result_name(kind, self.rollout)}.csv"
        dials = {f"planner_{name}": value for name, value in asdict(self.planner).items()}
        require_alike(path, dials if self.mpc else {})
        if self.video is not None:
            require_picture(run)
            require_file(self.video)
        with tqdm(total=self.episodes, unit="episode", leave=False, delay=1) as bar:
            table = evaluate_run(run, self.episodes, planner, bar.update)
        if self.mpc:
            table = table.assign(**dials)
        print(returns_of(table))
        say_who_stopped(self.directory, table)
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
