"""The parity check from end to end: train both sides where missing, write the tables."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from maac_bench.names import lookup
from reports import provenance
from reports.curve_tables import score_table, summary_table
from reports.files import read_csv, require_writable
from reports.parity.peer import peer_path, peer_version, sac_options, train_peer
from reports.parity.settings import OURS, PEER, PROFILES, Profile
from reports.training_runs import collect, commits, from_runs, run_all, unfinished, with_commits
from reports.workers import complete


def make_data(profile: str, folder: Path, runs: Path) -> bool:
    """Train what is missing and publish; True if the tables changed.

    Args:
        profile: which size.
        folder: the report's.
        runs: where experiments are kept; this one is in parity/<profile>.

    Raises:
        ValueError: an unknown profile, or stable-baselines3 is not installed.
    """
    size, directory = lookup("profile", profile, PROFILES), runs / "parity" / profile
    command = f"maac-bench figure parity --profile {profile}"
    origin = provenance.record(command, _settings(profile, size))
    train_peers(size, directory)
    run_all(size.runs(), directory)
    data = curves(size, directory)
    summary = summary_table(data, score_table(data, size.tasks), ("final", "area"), OURS)
    tables = {"data.csv": data, "summary.csv": summary}
    plan = size.runs()
    origin = from_runs(origin, with_commits(plan, commits(plan, directory)), unfinished(plan, data))
    return provenance.publish(tables, folder, origin)


def train_peers(size: Profile, directory: Path) -> None:
    """Train the seeds of stable-baselines3 that are missing, one per core at a time."""
    require_writable(directory)
    paths = {
        (run, seed): peer_path(run, seed, directory) for run in size.runs() for seed in run.seeds
    }
    jobs = {
        f"{run.task} seed {seed}": partial(train_peer, run, seed, path)
        for (run, seed), path in paths.items()
        if not path.exists()
    }
    if not jobs:
        return

    def kept() -> str:
        finished = sum(path.exists() for path in paths.values())
        return f"{finished} of {len(paths)} seeds of {PEER} are finished and kept in {directory}"

    with tqdm(total=len(paths), initial=len(paths) - len(jobs), desc=PEER, unit="seed") as bar:
        complete(jobs, PEER, lambda _name, _result: bar.update(), kept)


def curves(size: Profile, directory: Path) -> pd.DataFrame:
    """Learning curves of both sides: task, algo, seed, episode, env_steps, return."""
    columns = ["task", "algo", "seed", "episode", "env_steps", "return"]
    tables = [collect(size.runs(), directory)[columns]]
    for run in size.runs():
        for seed in run.seeds:
            path = peer_path(run, seed, directory)
            table = read_csv(path, columns[3:])
            if list(table["episode"]) != list(range(1, run.rollouts + 1)):
                raise ValueError(f"{path} has not all {run.rollouts} episodes: delete it")
            tables.append(table.assign(task=run.task, algo=PEER, seed=seed)[columns])
    return pd.concat(tables, ignore_index=True)


def _settings(profile: str, size: Profile) -> dict[str, object]:
    return {
        "profile": profile,
        "label": size.label,
        "tasks": dict(size.tasks),
        "algorithms": [OURS, PEER],
        "seeds": list(size.seeds),
        "peer_options": {run.task: sac_options(run) for run in size.runs()},
        "peer_version": peer_version(),
    }
