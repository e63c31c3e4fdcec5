"""Table 1 from end to end: MAAC's policies, with and without planning at test time.

The policies are those of runs which the learning curves show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from maac_bench.names import lookup
from maac_bench.planning import PlannerSettings
from maac_bench.run_checkpoints import checkpoint_digest, checkpoint_rollouts, require_rollout
from reports import provenance
from reports.files import read_csv
from reports.table1.evaluation import evaluated
from reports.training_profiles import (
    Profile,
    directory,
    longer,
    paper_size,
    paper_size_gpu,
    paper_size_tf32,
    profiles,
)
from reports.training_runs import TrainingRun, commits, require_run, run_all
from reports.units import Experiment
from reports.units import run as run_units

EPISODES = 10
PLANNER = PlannerSettings()


def _labelled(profile: Profile) -> Profile:
    """With its algorithm's name before its label."""
    return replace(profile, label=f"{profile.algorithms[0]}; {profile.label}")


PROFILES = profiles(("maac",))
# With critics in units of 100, which learn more on that task.
PROFILES["critic-unit"] = _labelled(replace(PROFILES["mujoco"], algorithms=("maac-scaled-critic",)))
# The nearest to converged ones of that size.
PROFILES["longer"] = _labelled(longer(("maac-scaled-critic",)))
PROFILES["paper-size"] = paper_size(("maac",))
PROFILES["paper-size-gpu"] = paper_size_gpu(("maac-scaled-critic",))
# Nearer to the end of the run.
PROFILES["paper-size-tf32"] = paper_size_tf32((3, 4), "paper-gpu-seeds-3-4")


def make_data(profile: str, folder: Path, runs: Path) -> bool:
    """Train what is missing, then `collect`."""
    size = lookup("profile", profile, PROFILES)
    run_all(size.runs(), directory(size, runs))
    return collect(profile, folder, runs)


def collect(profile: str, folder: Path, runs: Path) -> bool:
    """Evaluate the newest policies that are there; True if the tables changed.

    timings.csv holds milliseconds per decision, which do not repeat: it is written when the data
    change. Every evaluation that is done is kept below `runs`, so an interrupted call is continued.

    Args:
        profile: which size.
        folder: the report's.
        runs: where experiments are kept.

    Raises:
        ValueError: an unknown profile, a directory with another run, a run without a checkpoint,
            or one that is not as far as the policies whose results are published.
        FloatingPointError: a return is not finite; nothing is published.
    """
    size = lookup("profile", profile, PROFILES)
    plan, trained = size.runs(), directory(size, runs)
    for run in plan:
        require_run(run, trained)
    _require_progress(plan, trained, folder)
    units = {}
    for run in plan:
        path = trained / run.name
        age = _age(run, path)
        # Named after what is evaluated: a run that has gone on is not mistaken for it.
        name = f"{run.name.replace('/', '-')}-{age:03d}-{checkpoint_digest(path, age)[:16]}"
        for planner in (None, PLANNER):
            unit = partial(evaluated, path, age, EPISODES, planner)
            units[f"{name}-{'policy' if planner is None else 'planned'}"] = unit
    dials = {"episodes": EPISODES, "planner": vars(PLANNER)}
    data = run_units(Experiment("table1", units, dials), runs)
    data.insert(0, "profile", profile)
    timings = data.groupby(["task", "mpc"])["ms_per_decision"].median().reset_index()
    data = data.drop(columns="ms_per_decision")
    origin = provenance.record(f"maac-bench figure table1 --profile {profile}", _settings(profile))
    origin["runs"] = commits(plan, trained)
    ages = data.groupby("task")["rollout"].max()
    origin["unfinished"] = [
        f"{run.name}: policies after {ages[run.task]} of {run.rollouts} episodes"
        for run in plan
        if ages[run.task] < run.rollouts
    ]
    tested = set(zip(data["task"], data["seed"], strict=True))
    origin["unfinished"] += [
        f"{run.name} seed {seed}: stopped early, its policy is not tested"
        for run in plan
        for seed in run.seeds
        if (run.task, seed) not in tested
    ]
    tables = {"data.csv": data, "summary.csv": summary(data)}
    return provenance.publish(tables, folder, origin, {"timings.csv": lambda: timings})


def _age(run: TrainingRun, path: Path) -> int:
    """After the run's episodes if they were kept, of a run that has gone on; else the newest."""
    held = checkpoint_rollouts(path)
    return run.rollouts if run.rollouts in held else require_rollout(path, None)


def _require_progress(plan: Sequence[TrainingRun], trained: Path, folder: Path) -> None:
    """Results of policies that were trained for longer are not overwritten."""
    path = folder / "summary.csv"
    if not path.exists():
        return
    published = read_csv(path, ["task", "trained_episodes"])
    ages = published.groupby("task")["trained_episodes"].max()
    for run in plan:
        here = max(checkpoint_rollouts(trained / run.name), default=0)
        if here < ages.get(run.task, 0):
            raise ValueError(
                f"{folder} has results of {run.name} after {ages[run.task]} episodes, and "
                f"{trained / run.name} has {here}: train it on first"
            )


def summary(data: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds of each seed's mean return, as in the paper."""
    seeds = data.groupby(["profile", "task", "mpc", "seed"])["return"].mean()
    table = seeds.groupby(["profile", "task", "mpc"]).agg(["mean", "std", "count"]).reset_index()
    trained = data.groupby(["profile", "task", "mpc"])["rollout"].max().reset_index()
    table = table.rename(columns={"count": "seeds", "std": "sd"})
    return table.merge(trained.rename(columns={"rollout": "trained_episodes"}))


def _settings(profile: str) -> dict[str, object]:
    size = PROFILES[profile]
    return {
        "profile": profile,
        "label": size.label,
        "tasks": dict(size.tasks),
        "size": size.size,
        "seeds": list(size.seeds),
        "episodes": EPISODES,
        "planner": vars(PLANNER),
    }
