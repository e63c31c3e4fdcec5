"""What the files of a run directory say, for whoever continues, shows or compares the run."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maac_bench.config import from_dict, leaves, to_dict
from maac_bench.run_files import read_record

_OPTIONS = {"task": "--task", "algorithm": "--algo", "seeds": "--seeds", "compiled": "--compile"}
_MOST_NAMED = 4


def read_identity(path: Path) -> dict[str, Any]:
    """A run's task, algorithm, seeds and configuration; ValueError if it is none."""
    try:
        result: dict[str, Any] = json.loads((path / "config.json").read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        below = sorted(str(file.parent) for file in path.glob("*/config.json"))
        found = f"; below it: {', '.join(below)}" if below else ""
        there = "config.json is missing" if path.is_dir() else "it is no folder"
        reason = there if path.exists() else "there is no such folder"
        raise ValueError(f"{path} holds no run: {reason}{found}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path / 'config.json'} is damaged ({error})") from error
    kinds = {"task": str, "algorithm": str, "seeds": list, "config": dict}
    if (
        not isinstance(result, dict)
        or not all(isinstance(result.get(name), kind) for name, kind in kinds.items())
        # bool is an int to Python, and no seed
        or not all(type(seed) is int for seed in result["seeds"] or [None])
    ):
        raise ValueError(f"{path / 'config.json'} names no task, algorithm, seeds and config")
    try:
        from_dict(result["config"])
    except ValueError as error:
        raise ValueError(f"{path / 'config.json'}: {error}") from error
    return result


def continuations(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A run's provenance, and apart from it the records of who trained on, oldest first.

    Raises:
        ValueError: the file is missing or damaged.
    """
    file = path / "provenance.json"
    record = read_record(file)
    entries = record.pop("continued", [])
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and type(entry.get("from_rollout")) is int for entry in entries
    ):
        raise ValueError(f"{file} is damaged: 'continued' is no list of commits")
    if not all(isinstance(entry.get("modules", {}), dict) for entry in (record, *entries)):
        raise ValueError(f"{file} is damaged: 'modules' is no table of digests")
    return record, entries


def record_at(path: Path, rollouts: int) -> dict[str, Any]:
    """What a run's provenance says of its state after that many rollouts: who trained it last."""
    known, earlier = continuations(path)
    return [known, *(entry for entry in earlier if entry["from_rollout"] <= rollouts)][-1]


def changed_modules(path: Path, rollouts: int, now: Mapping[str, str]) -> list[str]:
    """Modules of the user's own that are not what that state of a run was trained with.

    Args:
        path: run directory.
        rollouts: after how many.
        now: `names.module_digests` of those that are used.
    """
    if not now:
        return []
    before = record_at(path, rollouts).get("modules", {})
    return [name for name, digest in now.items() if before.get(name, digest) != digest]


def read_metrics(path: Path, seed: int) -> list[dict[str, str]]:
    """The rows of one seed's metrics as they stand in the file; ValueError if it is damaged."""
    file = path / f"seed-{seed}" / "metrics.csv"
    if not file.exists():
        return []
    try:
        table = list(csv.DictReader(io.StringIO(file.read_text())))
        if any(None in row.values() for row in table):
            raise ValueError("a row is cut short")
        rows = [{name: text for name, text in row.items() if text} for row in table]
        for row in rows:
            int(row["rollout"])
            for text in row.values():
                float(text)
    except (UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged ({type(error).__name__}: {error})") from error
    return rows


def read_evaluations(path: Path, seed: int) -> list[dict[str, str]]:
    """The rows of one seed's metrics that have a return, each rollout once.

    Raises:
        ValueError: the file is damaged: a rollout twice, no steps, a return that is not finite.
    """
    file, seen = path / f"seed-{seed}" / "metrics.csv", set[int]()
    rows = [row for row in read_metrics(path, seed) if "return" in row]
    for row in rows:
        rollout = int(row["rollout"])
        if "env_steps" not in row:
            raise ValueError(f"{file} is damaged (rollout {rollout} has no env_steps)")
        if not math.isfinite(float(row["return"])):
            raise ValueError(f"{file}: the return after {rollout} rollouts is not finite")
        if rollout in seen:
            raise ValueError(f"{file} is damaged (rollout {rollout} is there twice)")
        seen.add(rollout)
    return rows


def require_same(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> None:
    """ValueError naming the settings in which two identities differ, what was asked for first.

    Args:
        old: of the run in `path`, perhaps of an earlier version.
        new: of the run that is asked for.
        path: run directory.
    """
    before, after = leaves(_upgraded(old)), leaves(_upgraded(new))
    names = [*_OPTIONS, *sorted((before.keys() | after.keys()) - _OPTIONS.keys())]
    differing = [name for name in names if before.get(name) != after.get(name)]
    if differing:
        values = {name: (_value(before, name), _value(after, name)) for name in differing}
        said = [
            f"{_option(name)} is {there} there and {here} here"
            for name, (there, here) in list(values.items())[:_MOST_NAMED]
        ]
        if len(differing) > _MOST_NAMED:
            said.append(f"{len(differing) - _MOST_NAMED} more")
        raise ValueError(f"{path} holds another run: {', '.join(said)}; choose another directory")


def _option(name: str) -> str:
    """What a setting is called on the command line."""
    return _OPTIONS.get(name) or "--" + name.removeprefix("config.").replace("_", "-")


def _value(settings: Mapping[str, Any], name: str) -> str:
    """As it is given there; what an earlier version did not record has no value."""
    if name not in settings:
        return "not recorded"
    value = settings[name]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "at its default"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _upgraded(identity: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the fields that the configuration had not yet, as JSON has them."""
    config = to_dict(from_dict(identity.get("config", {})))
    result: Mapping[str, Any] = json.loads(json.dumps({**identity, "config": config}))
    return result
