"""Any run directories beside each other: who is better after as many episodes as all have."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from maac_bench.config import Config, leaves, to_dict
from maac_bench.run_records import read_evaluations, read_identity
from reports import comparison_remarks as remarks_on
from reports.comparison_remarks import Seed
from reports.curve_tables import score_table, summary_table
from reports.statistics import (
    Estimate,
    mann_whitney_p,
    mean_probability_of_improvement,
    performance_profile,
)

THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Of the performance profile, as shares of the range of a task's final returns."""
_GROUP = ["task", "algo"]
_MOST_NAMED = 3
# What was done before a setting existed, as it would stand in a file.
_DEFAULTS = leaves(json.loads(json.dumps(to_dict(Config()))))


@dataclass(frozen=True)
class Comparison:
    """What run directories hold, cut to a common length.

    data: every evaluation: task, algo, seed, episode, env_steps, return.
    table: a row per task and algorithm: seeds (with any evaluation), scored (of them, those in
    final), shortest, longest (episodes), compared_at (the largest episode that all seeds on the
    task have), and final and area with their intervals.
    improvement: a row per pair of algorithms with a common task: the probability, and p_value, of
    the exact Mann-Whitney test of their final returns, where that task is the only one.
    profile: a row per algorithm and threshold, over the tasks that all algorithms have; empty
    without one. Neither has an interval (nan) where no task has a second seed.
    remarks: what a reader must know: unequal lengths, missing seeds, other code or settings.
    """

    data: pd.DataFrame
    table: pd.DataFrame
    improvement: pd.DataFrame
    profile: pd.DataFrame
    remarks: tuple[str, ...]


def compare(directories: Sequence[Path], by_folder: bool = False) -> Comparison:
    """Aggregate runs by task and algorithm.

    A seed that failed does not shorten what is compared: where it ended before that, it has no
    score, and is said to be left out.

    Args:
        directories: runs, or folders that hold runs at any depth.
        by_folder: every run is an algorithm of its own, named after its folder.

    Raises:
        ValueError: a directory holds no run, or there is no evaluation; also, unless by folder, a
            seed is there twice, or runs of one algorithm differ in too much to be named.
    """
    identities = {path: read_identity(path) for path in _runs(directories)}
    if by_folder:
        names = {
            path: f"{of['algorithm']} ({folder})"
            for (path, of), folder in zip(identities.items(), _folders(identities), strict=True)
        }
    else:
        names = _names(identities)
    data, failed, noted = _collect(identities, names)
    lengths = data.groupby([*_GROUP, "seed"], sort=False)["episode"].max()
    common = _common(lengths, failed)
    cut = data[data["episode"] <= data["task"].map(common)]
    scores = score_table(cut, common)
    summary = summary_table(cut, scores, ("final", "area"))
    measured = summary.set_index([*_GROUP, "measure"]).to_dict("index")
    rows = []
    for (task, algo), of in lengths.groupby(_GROUP, sort=False):
        row: dict[str, Any] = {"task": task, "algo": algo, "seeds": len(of)}
        row["scored"] = int(measured.get((task, algo, "final"), {}).get("n", 0))
        row |= {"shortest": of.min(), "longest": of.max(), "compared_at": common[str(task)]}
        for measure in ("final", "area"):
            # Not there where every evaluation of the algorithm comes after the common ones.
            score = measured.get((task, algo, measure), {})
            columns = {"iqm": measure, "low": f"{measure}_low", "high": f"{measure}_high"}
            row |= {name: score.get(key, float("nan")) for key, name in columns.items()}
        rows.append(row)
    finals = scores[scores["measure"] == "final"]
    whole = lengths[[key not in failed for key in lengths.index]]
    remarks = [
        *noted,
        *remarks_on.mixtures(identities, names),
        *remarks_on.deviations(identities, names),
        *remarks_on.failures(lengths, failed, common),
        *remarks_on.unequal_lengths(whole, common),
        *remarks_on.gaps(whole, scores),
    ]
    return Comparison(
        data, pd.DataFrame(rows), _improvements(finals), _profile(finals), tuple(remarks)
    )


def _collect(
    identities: Mapping[Path, Mapping[str, Any]], names: Mapping[Path, str]
) -> tuple[pd.DataFrame, set[Seed], list[str]]:
    """All evaluations, the seeds among them that failed, and a line for each without any."""
    found: dict[Seed, Path] = {}
    rows: list[dict[str, Any]] = []
    remarks: list[str] = []
    failed: set[Seed] = set()
    for path, identity in identities.items():
        task, algo = str(identity["task"]), names[path]
        for seed in map(int, identity["seeds"]):
            if (task, algo, seed) in found:
                other = found[task, algo, seed]
                raise ValueError(
                    f"seed {seed} of {algo} on {task} is in both {other} and {path}: "
                    "--by-folder shows each by itself"
                )
            found[task, algo, seed] = path
            evaluations = _evaluations(path, seed)
            rows += [{"task": task, "algo": algo, "seed": seed, **row} for row in evaluations]
            if not evaluations:
                remarks.append(f"left out: {algo} on {task} seed {seed} has no evaluation yet")
            if (path / f"seed-{seed}" / "failure.json").exists():
                failed.add((task, algo, seed))
    if not rows:
        raise ValueError(f"{', '.join(map(str, identities))}: there is no evaluation to compare")
    return pd.DataFrame(rows), failed, remarks


def _common(lengths: pd.Series[int], failed: set[Seed]) -> dict[str, int]:
    """The largest episode that all seeds on a task have, but for those that failed."""
    common = {}
    for task, of in lengths.groupby("task", sort=False):
        going = of[[key not in failed for key in of.index]]
        common[str(task)] = int(of.max() if going.empty else going.min())
    return common


def _runs(directories: Sequence[Path]) -> list[Path]:
    if not directories:
        raise ValueError("nothing to compare: name at least one run directory")
    runs: dict[Path, Path] = {}
    for directory in directories:
        inside = sorted(_below(directory))
        if not inside:
            reason = "config.json is missing" if directory.exists() else "there is no such folder"
            raise ValueError(f"{directory} holds no run: {reason}")
        runs |= {path.resolve(): path for path in inside}
    return list(runs.values())


def _folders(paths: Iterable[Path]) -> list[str]:
    """What is left of paths without the folder that all are in; of a single one its last name."""
    real = [path.resolve() for path in paths]
    above = Path(os.path.commonpath([path.parent for path in real]))
    return [str(path.relative_to(above)) for path in real]


def _below(directory: Path) -> Iterator[Path]:
    """Folders with a run, links followed, each once."""
    seen = set[Path]()
    for name, folders, files in os.walk(directory, followlinks=True):
        path = Path(name)
        if path.resolve() in seen:
            folders.clear()  # a link back, or to what has been seen
            continue
        seen.add(path.resolve())
        if "config.json" in files:
            yield path


def _evaluations(path: Path, seed: int) -> list[dict[str, Any]]:
    return [
        {
            "episode": int(row["rollout"]),
            "env_steps": int(row["env_steps"]),
            "return": float(row["return"]),
            "temperature": float(row.get("temperature", "nan")),
        }
        for row in read_evaluations(path, seed)
    ]


def _names(identities: Mapping[Path, Mapping[str, Any]]) -> dict[Path, str]:
    """What each run is called: its algorithm, and where there are variants of it, what differs.

    Runs of one algorithm on one task with different configurations are variants, and are not
    averaged. The same words on another task are the same settings, so variants can be joined.

    Raises:
        ValueError: so much differs that a name would say nothing.
    """
    settings = {path: {**_DEFAULTS, **leaves(of["config"])} for path, of in identities.items()}
    alike: dict[tuple[str, str], list[Path]] = {}
    for path, of in identities.items():
        alike.setdefault((str(of["task"]), str(of["algorithm"])), []).append(path)
    names = {}
    for (task, algo), paths in alike.items():
        first = settings[paths[0]]
        fields = sorted(
            name
            for name in set().union(*(settings[path] for path in paths))
            if any(settings[path].get(name) != first.get(name) for path in paths)
        )
        if len(fields) > _MOST_NAMED:
            raise ValueError(
                f"the runs of {algo} on {task} differ in {', '.join(fields)}: --by-folder shows "
                "each by itself"
            )
        for path in paths:
            words = [f"{name}={settings[path].get(name)}" for name in fields]
            names[path] = f"{algo} ({', '.join(words)})" if words else algo
    return names


def _improvements(finals: pd.DataFrame) -> pd.DataFrame:
    """Each pair of algorithms on the tasks that both have."""
    by = {key: list(of["score"]) for key, of in finals.groupby(_GROUP, sort=False)}
    rows = []
    for one, other in combinations(finals["algo"].unique(), 2):
        tasks = [task for task, algo in by if algo == one and (task, other) in by]
        if tasks:
            pairs = [(by[task, one], by[task, other]) for task in tasks]
            row = {"algo": one, "than": other, "tasks": len(tasks)}
            found = mean_probability_of_improvement(pairs)
            if all(len(x) == len(y) == 1 for x, y in pairs):
                found = found._replace(low=math.nan, high=math.nan)  # it would be a point
            row |= found._asdict()
            row["p_value"] = mann_whitney_p(*pairs[0]) if len(pairs) == 1 else math.nan
            rows.append(row)
    return pd.DataFrame(rows, columns=["algo", "than", "tasks", *Estimate._fields, "p_value"])


def _profile(finals: pd.DataFrame) -> pd.DataFrame:
    """Final returns as shares of their task's range, on the tasks that all algorithms have."""
    algorithms = finals.groupby("task", sort=False)["algo"].nunique()
    shared = algorithms[algorithms == finals["algo"].nunique()].index
    rows = finals[finals["task"].isin(shared)]
    scores = rows.groupby("task", sort=False)["score"]
    low, high = scores.transform("min"), scores.transform("max")
    # One value only: nobody is above a part of a range that is not there.
    share = ((rows["score"] - low) / (high - low)).fillna(0.0)
    parts = []
    for algo, of in rows.assign(share=share).groupby("algo", sort=False):
        part = performance_profile(of, "share", THRESHOLDS, "task").assign(algo=algo)
        if of["task"].is_unique:
            part = part.assign(low=math.nan, high=math.nan)  # they would be points
        parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
