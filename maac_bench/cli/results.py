"""What stands in a run's files of results, and what is said beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from maac_bench.names import module_digests
from maac_bench.run_records import changed_modules, read_identity
from reports.files import read_csv


def result_name(name: str, rollout: int | None) -> str:
    """A name of its own for a checkpoint that was asked for: the newest's results stay."""
    return name if rollout is None else f"{name}-{rollout}"


_BEFORE = {"displacement": 0.0, "shuffled_model": 0}
"""Dials that files from before they could be chosen do not name, and what they were."""


def require_alike(path: Path, settings: Mapping[str, Any]) -> None:
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


def require_all(path: Path, column: str, asked: Sequence[float]) -> None:
    """ValueError where a file holds values that are not measured again, and would be lost."""
    try:
        held = set(read_csv(path, [column])[column].dropna()) if path.exists() else set()
    except ValueError:  # damaged
        return
    if not held <= set(asked):
        others = ", ".join(f"{value:g}" for value in sorted(held - set(asked)))
        raise ValueError(f"{path} also holds the {column}s {others}: rename it to keep them")


def say_who_stopped(directory: Path, table: pd.DataFrame) -> None:
    """A line for each seed of a run that is not in a table of its checkpoint."""
    for seed in read_identity(directory)["seeds"]:
        if seed not in table["seed"].to_numpy():
            print(f"left out: seed {seed} stopped in training; see its failure.json")


def say_what_changed(directory: Path, task: str, rollouts: int) -> None:
    """A line for each of the task's modules that is not what the policies were trained with."""
    for module in changed_modules(directory, rollouts, module_digests(task)):
        print(f"{module} has changed since these policies were trained: this is what it says now")
