"""What a report has published of training runs: kept where a run at hand is not as far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from maac_bench.run_records import require_same
from reports import provenance
from reports.files import file_digest, read_csv
from reports.training_runs import TrainingRun, identity

_KEYS = ["task", "algo"]


class Published(NamedTuple):
    """Rows of data.csv and timings.csv, and the commit that trained each run, by its name."""

    data: pd.DataFrame
    timings: pd.DataFrame
    commits: Mapping[str, str]

    def episodes(self, run: TrainingRun) -> int:
        """How many episodes there are of a run, all its seeds together."""
        return len(_of_runs(self.data, [run])) if run.name in self.commits else 0

    def only(self, runs: Sequence[TrainingRun]) -> Published:
        """The part of these runs."""
        commits = {run.name: self.commits[run.name] for run in runs}
        return Published(_of_runs(self.data, runs), _of_runs(self.timings, runs), commits)


def read_published(runs: Sequence[TrainingRun], folder: Path) -> Published:
    """The part of a report's tables that is of these runs, up to their number of episodes.

    Nothing of a run is taken whose recorded settings are others than it has now, or are not
    recorded.

    Args:
        runs: which.
        folder: the report's; it may be new.

    Raises:
        ValueError: damaged tables or provenance, or tables that are not those of the provenance.
    """
    if not runs or not (folder / "provenance.json").exists():
        return Published(pd.DataFrame(), pd.DataFrame(), {})
    origin = provenance.load(folder)
    commits, identities = origin.get("runs", {}), origin.get("identities", {})
    known = [run for run in runs if run.name in commits and _is_same(run, identities.get(run.name))]
    if not known:
        return Published(pd.DataFrame(), pd.DataFrame(), {})
    table = folder / "data.csv"
    if not table.exists() or file_digest(table) != origin.get("tables", {}).get("data.csv"):
        raise ValueError(
            f"{table} is not the table that provenance.json describes: restore both, "
            "or delete provenance.json to publish without them"
        )
    profile = origin["configuration"].get("profile")
    data = _of_profile(profile, read_csv(table, [*_KEYS, "seed", "episode"]))
    lengths = {(run.task, run.algorithm): run.rollouts for run in known}
    ends = [lengths.get(key, 0) for key in zip(data["task"], data["algo"], strict=True)]
    # Wall-clock times are written last, and may be missing after an interruption.
    path = folder / "timings.csv"
    timings = read_csv(path, _KEYS) if path.exists() else pd.DataFrame(columns=_KEYS)
    timings = _of_profile(profile, timings)
    everything = Published(data[data["episode"] <= ends], timings, commits)
    return everything.only(known)


def furthest(
    sources: Sequence[Published], runs: Sequence[TrainingRun], held: Mapping[str, int]
) -> Published:
    """Of each run what has most episodes, the first of equals; nothing where none has more.

    Args:
        sources: what is published, here and there.
        runs: which.
        held: episodes at hand, all seeds of a run together, by its name.
    """
    parts = []
    for run in runs:
        counts = [source.episodes(run) for source in sources]
        if counts and max(counts) > held[run.name]:
            parts.append(sources[counts.index(max(counts))].only([run]))
    return Published(
        joined(runs, *(part.data for part in parts)),
        joined(runs, *(part.timings for part in parts)),
        {name: commit for part in parts for name, commit in part.commits.items()},
    )


def joined(runs: Sequence[TrainingRun], *tables: pd.DataFrame) -> pd.DataFrame:
    """Tables with the columns task and algo as one, in the order of the runs."""
    place = {(run.task, run.algorithm): k for k, run in enumerate(runs)}
    full = [table for table in tables if len(table)]
    if not full:
        return pd.DataFrame()
    table = pd.concat(full, ignore_index=True)
    order = [place[key] for key in zip(table["task"], table["algo"], strict=True)]
    return table.iloc[pd.Series(order).argsort(kind="stable")].reset_index(drop=True)


def _is_same(run: TrainingRun, recorded: Mapping[str, object] | None) -> bool:
    if recorded is None:
        return False
    try:
        require_same(recorded, identity(run), Path(run.name))
    except ValueError:
        return False
    return True


def _of_profile(profile: str | None, table: pd.DataFrame) -> pd.DataFrame:
    """Without the rows of a profile that this one repeats."""
    return table[table["profile"] == profile] if "profile" in table else table


def _of_runs(table: pd.DataFrame, runs: Sequence[TrainingRun]) -> pd.DataFrame:
    keys = {(run.task, run.algorithm) for run in runs}
    if table.empty:
        return table
    return table[[key in keys for key in zip(table["task"], table["algo"], strict=True)]]
