"""Experiments made of training runs: train what is missing, collect what is there.

A run's directory is <folder>/<task without its prefix>/<algorithm>. It resumes exactly, and its
own provenance names the commit that trained it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from maac_bench.config import Config, to_dict
from maac_bench.presets import preset
from maac_bench.run_checkpoints import checkpoint_rollouts
from maac_bench.run_files import read_record
from maac_bench.run_records import read_evaluations, read_identity, require_same
from maac_bench.sizes import Size
from maac_bench.training import RunSettings, train
from reports.files import require_writable
from reports.provenance import MADE_WITH, record, versions, without_versions
from reports.workers import complete

MEASURED = (
    "return",
    "temperature",
    "critic_bias",
    "prediction_error_4",
    "actor_gradient_cosine",
    "actor_gradient_norm",
    "target_weight_0",
)
KEEP_EVERY = 10
"""Rollouts between checkpoints that stay, for measurements at several ages of a run."""
WALL_CLOCK = ("seconds", "seconds_update", "seconds_model", "seconds_branch")
"""Of all seeds of a run together, per episode."""


@dataclass(frozen=True)
class TrainingRun:
    """One algorithm on one task, its seeds stacked in one process.

    task, algorithm: identifiers. size: of the preset. rollouts: episodes in all. compiled: whether
    the update is fused. config: in place of the preset. device: cpu or cuda.
    """

    task: str
    algorithm: str
    size: Size
    seeds: tuple[int, ...]
    rollouts: int
    compiled: bool
    config: Config | None = None
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Unique within an experiment, and where the run is in its folder."""
        return f"{self.task.rpartition('/')[2]}/{self.algorithm}"

    @property
    def settings(self) -> Config:
        """The configuration it trains with."""
        return self.config or preset(self.algorithm, self.task, self.size)


def run_all(runs: Sequence[TrainingRun], folder: Path) -> None:
    """Train every run to its end, one per core at a time, each on one thread.

    Args:
        runs: what to train; finished ones are skipped, interrupted ones continued.
        folder: where the run directories are.

    Raises:
        ValueError: a directory holds another run, or is in use.
        workers.Interrupted: Ctrl-C; everything up to the last episodes is on disk.
        OSError: the folder cannot be written, or a worker was killed.
    """
    require_writable(folder)
    missing = {run.name: run for run in runs if not _has_ended(run, folder)}
    if not missing:
        return
    jobs = {
        name: partial(train_one, run, folder / name, record(_command(run), {"threads": 1}))
        for name, run in missing.items()
    }

    def kept() -> str:
        finished = sum(_has_ended(run, folder) for run in runs)
        return f"{finished} of {len(runs)} training runs are finished and all are kept in {folder}"

    def done(name: str, remark: str) -> None:
        tqdm.write(f"{name}: {remark or f'{missing[name].rollouts} episodes'}")

    total = sum(run.rollouts for run in runs)
    with tqdm(total=total, desc=folder.name, unit="episode") as bar:

        def show() -> None:
            bar.n = sum(max(episodes(run, folder).values()) for run in runs)
            bar.refresh()

        show()
        complete(jobs, str(folder), done, kept, show)
        show()


def train_one(run: TrainingRun, directory: Path, origin: dict[str, Any]) -> str:
    """Train one run to its end on one thread; which seeds stopped early, or nothing."""
    # One thread: the same sums in the same order however many cores there are.
    torch.set_num_threads(1)
    settings = RunSettings(
        run.task,
        run.algorithm,
        run.seeds,
        run.rollouts,
        directory,
        run.device,
        compiled=run.compiled,
        keep_every=KEEP_EVERY,
    )
    # Progress bars of several workers would overwrite each other; failures come as exceptions.
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        try:
            train(settings, run.settings, origin)
        except FloatingPointError as error:
            return str(error)
    return ""


def collect(runs: Sequence[TrainingRun], folder: Path) -> pd.DataFrame:
    """The metrics of all runs as far as they are there, up to each run's number of episodes.

    Returns:
        One row per (task, algo, seed, episode), with env_steps and the columns of `MEASURED` and
        `WALL_CLOCK`. What a run does not measure, or has not reached, is empty or not there.

    Raises:
        ValueError: there is not one episode, or a directory holds another run.
    """
    rows = [
        {
            "task": run.task,
            "algo": run.algorithm,
            "seed": seed,
            "episode": int(metrics["rollout"]),
            "env_steps": int(metrics["env_steps"]),
            **{name: float(metrics.get(name, "nan")) for name in (*MEASURED, *WALL_CLOCK)},
        }
        for run in runs
        for seed in run.seeds
        for metrics in _metrics(run, folder, seed)
    ]
    if not rows:
        raise ValueError(f"{folder} holds no episode of these runs: train them first")
    return pd.DataFrame(rows)


def episodes(run: TrainingRun, folder: Path) -> dict[int, int]:
    """How many episodes each seed of a run has, up to the run's number."""
    return {seed: len(_metrics(run, folder, seed)) for seed in run.seeds}


def unfinished(runs: Sequence[TrainingRun], data: pd.DataFrame) -> list[str]:
    """What collected data lack, a line per seed."""
    counts = data.groupby(["task", "algo", "seed"]).size().to_dict()
    return [
        f"{run.name} seed {seed}: {count} of {run.rollouts} episodes"
        for run in runs
        for seed in run.seeds
        if (count := counts.get((run.task, run.algorithm, seed), 0)) < run.rollouts
    ]


def commits(runs: Sequence[TrainingRun], folder: Path) -> dict[str, str]:
    """The commit that trained each run there is, and those that continued it, by the run's name.

    With what it was made, if that differs from what is installed here.

    Raises:
        ValueError: a run's provenance is missing or damaged.
    """
    found = {}
    for run in runs:
        if (folder / run.name / "config.json").exists():
            file = folder / run.name / "provenance.json"
            record = read_record(file, "commit")
            try:
                later = "".join(
                    f", from episode {entry['from_rollout']} on {_commit_of(entry)}"
                    for entry in record.get("continued", [])
                    if entry["from_rollout"] <= run.rollouts
                )
            except (KeyError, TypeError) as error:
                raise ValueError(f"{file} is damaged: 'continued' is no list of commits") from error
            found[run.name] = f"{_commit_of(record)}{later}"
    return found


def _commit_of(record: Mapping[str, Any]) -> str:
    """A record's commit, and what it was made with where that is not what collects it."""
    here, packages = versions(), record.get("packages")
    used = {"python": record.get("python"), **(packages if isinstance(packages, dict) else {})}
    other = [
        f"{name} {number}" for name, number in used.items() if number and number != here.get(name)
    ]
    if "gpu" in record:
        other.append(str(record["gpu"]))
    return f"{record['commit']}{MADE_WITH}{', '.join(other)}" if other else str(record["commit"])


def with_commits(
    runs: Sequence[TrainingRun], trained: Mapping[str, str]
) -> dict[str, tuple[TrainingRun, str]]:
    """Those runs that there are, by name, each with its commit from `commits`."""
    return {run.name: (run, trained[run.name]) for run in runs if run.name in trained}


def from_runs(
    origin: Mapping[str, Any],
    made: Mapping[str, tuple[TrainingRun, str]],
    missing: Sequence[str],
) -> dict[str, Any]:
    """Provenance of collected data: their commit is that of the runs, `origin`'s collected them.

    Args:
        origin: from `provenance.record`.
        made: see `with_commits`.
        missing: from `unfinished`.
    """
    bare = [without_versions(commit) for _, commit in made.values()]
    first, count = bare[0], len(set(bare))
    return {
        **origin,
        "commit": first
        if count == 1
        else f"{re.split('[ ,]', first)[0]} and {count - 1} more (provenance.json)",
        "collected_by": origin["commit"],
        "runs": {name: commit for name, (_, commit) in made.items()},
        "identities": {name: identity(run) for name, (run, _) in made.items()},
        "unfinished": list(missing),
    }


def held_ages(path: Path, ages: Sequence[int]) -> list[int]:
    """At which of these ages a run directory has a checkpoint; ValueError where at none."""
    held = [age for age in ages if age in checkpoint_rollouts(path)]
    if not held:
        raise ValueError(
            f"{path} has no checkpoint of the ages {', '.join(map(str, ages))}: train it first, "
            "or, if it has been trained without keeping them, move it away"
        )
    return held


def require_run(run: TrainingRun, folder: Path) -> None:
    """ValueError unless the run's directory holds that run, however far."""
    directory = folder / run.name
    require_same(read_identity(directory), identity(run), directory)


def _metrics(run: TrainingRun, folder: Path, seed: int) -> list[dict[str, str]]:
    directory = folder / run.name
    if not (directory / "config.json").exists():
        return []
    require_run(run, folder)
    rows = read_evaluations(directory, seed)
    done = [int(row["rollout"]) for row in rows]
    if done != list(range(1, len(done) + 1)):
        raise ValueError(
            f"{directory / f'seed-{seed}' / 'metrics.csv'} has not each of its {len(done)} "
            "evaluations in turn: restore it, or delete the run to train it anew"
        )
    return rows[: run.rollouts]


def _has_ended(run: TrainingRun, folder: Path) -> bool:
    """Whether every seed has all its episodes, in a checkpoint too, or has stopped for good."""
    # Metrics are written before the checkpoint: a kill in between leaves the last one missing.
    saved = checkpoint_rollouts(folder / run.name)[-1:] >= [run.rollouts]
    return all(
        (saved and count == run.rollouts)
        or (folder / run.name / f"seed-{seed}" / "failure.json").exists()
        for seed, count in episodes(run, folder).items()
    )


def identity(run: TrainingRun) -> dict[str, Any]:
    """What the numbers of a run depend on, as its directory has it."""
    return {
        "task": run.task,
        "algorithm": run.algorithm,
        "seeds": list(run.seeds),
        "compiled": run.compiled,
        "device": run.device,
        "config": to_dict(run.settings),
    }


def _command(run: TrainingRun) -> str:
    seeds = " ".join(map(str, run.seeds))
    return (
        f"maac-bench train --task {run.task} --algo {run.algorithm} --size {run.size} "
        f"--seeds {seeds} --rollouts {run.rollouts} --compile {'yes' if run.compiled else 'no'} "
        f"--keep-every {KEEP_EVERY} --threads 1"
        + ("" if run.device == "cpu" else f" --device {run.device}")
    )
