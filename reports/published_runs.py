"""What a report has published of training runs that are not at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from reports import provenance
from reports.files import read_csv
from reports.training_runs import TrainingRun

_KEYS = ["task", "algo"]


class Published(NamedTuple):
    """Rows of data.csv and timings.csv, and the commit that trained each run, by its name."""

    data: pd.DataFrame
    timings: pd.DataFrame
    commits: Mapping[str, str]


def read_published(runs: Sequence[TrainingRun], profile: str, folder: Path) -> Published:
    """The part of a report's tables that is of these runs.

    Nothing of a run is taken whose seeds, size or fusing differ from the published record.

    Args:
        runs: which.
        profile: of the report; a folder that holds another one has nothing to keep.
        folder: the report's.

    Raises:
        ValueError: damaged tables or provenance.
    """
    if not (folder / "provenance.json").exists():
        return Published(pd.DataFrame(), pd.DataFrame(), {})
    origin = provenance.load(folder)
    known, settings = origin.get("runs", {}), origin["configuration"]
    wanted = {
        (run.task, run.algorithm): known[run.name]
        for run in runs
        if run.name in known and settings == {**settings, **_identity(run, profile)}
    }
    data, timings = (
        _of_runs(read_csv(folder / name, _KEYS), list(wanted))
        for name in ("data.csv", "timings.csv")
    )
    present = set(map(tuple, data[_KEYS].to_numpy()))
    named = {run.name: (run.task, run.algorithm) for run in runs}
    return Published(
        data, timings, {name: wanted[key] for name, key in named.items() if key in present}
    )


def joined(runs: Sequence[TrainingRun], *tables: pd.DataFrame) -> pd.DataFrame:
    """Tables with the columns task and algo as one, in the order of the runs."""
    place = {(run.task, run.algorithm): k for k, run in enumerate(runs)}
    table = pd.concat([table for table in tables if len(table)], ignore_index=True)
    order = [place[key] for key in zip(table["task"], table["algo"], strict=True)]
    return table.iloc[pd.Series(order).argsort(kind="stable")].reset_index(drop=True)


def _identity(run: TrainingRun, profile: str) -> dict[str, object]:
    return {
        "profile": profile,
        "size": run.size,
        "seeds": list(run.seeds),
        "compiled": run.compiled,
    }


def _of_runs(table: pd.DataFrame, keys: Sequence[tuple[str, str]]) -> pd.DataFrame:
    return table[[key in keys for key in zip(table["task"], table["algo"], strict=True)]]
