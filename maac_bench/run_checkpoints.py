"""The checkpoints of a run directory: a table of tensors and a record with its digest each."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from maac_bench.checkpoint import Snapshot
from maac_bench.run_files import digest, read_record, write_tensors, write_text

_KEPT_CHECKPOINTS = 2
_DIGITS = 6
_CHECKPOINT = "rollout-" + "[0-9]" * _DIGITS
MOST_ROLLOUTS = 10**_DIGITS - 1
"""That a checkpoint can be named after."""


def write_checkpoint(path: Path, snapshot: Snapshot, keep_every: int = 0) -> None:
    """Write a checkpoint; the previous one stays until this one is whole.

    Args:
        path: run directory.
        snapshot: what to write.
        keep_every: rollouts between checkpoints that are not replaced by later ones; 0: none.
    """
    folder, name = path / "checkpoint", _checkpoint_name(snapshot.counters["rollouts"])
    table = folder / f"{name}.safetensors"
    write_tensors(table, snapshot.tensors)
    stays = keep_every > 0 and snapshot.counters["rollouts"] % keep_every == 0
    record = {"counters": snapshot.counters, "sha256": digest(table), "stays": stays}
    write_text(folder / f"{name}.json", json.dumps(record, indent=2) + "\n")
    records = _records(path)
    kept = [*records[-_KEPT_CHECKPOINTS:], *filter(_stays, records[:-_KEPT_CHECKPOINTS])]
    for file in folder.glob(f"{_CHECKPOINT}.*"):
        if file.with_suffix(".json") not in kept:
            file.unlink()


def checkpoint_rollouts(path: Path) -> list[int]:
    """After which rollouts a run has checkpoints."""
    return sorted(map(_rollout_of, _records(path)))


def checkpoint_digest(path: Path, rollout: int) -> str:
    """SHA-256 of the checkpoint after that many rollouts, as it was recorded."""
    record = path / "checkpoint" / f"{_checkpoint_name(rollout)}.json"
    return str(read_record(record, "sha256")["sha256"])


def require_rollout(path: Path, rollout: int | None = None) -> int:
    """That many rollouts, or those of the newest checkpoint; ValueError where there is none."""
    held = checkpoint_rollouts(path)
    if not held:
        raise ValueError(f"{path} has no checkpoint yet: let it train for a rollout")
    if rollout is not None and rollout not in held:
        raise ValueError(
            f"{path} has no checkpoint of rollout {rollout}, only of "
            f"{', '.join(map(str, held))}; train with --keep-every to keep more"
        )
    return held[-1] if rollout is None else rollout


def require_checkpoint(path: Path, rollout: int | None = None) -> Snapshot:
    """The checkpoint after that many rollouts, or the newest; ValueError where there is none."""
    snapshot = load_checkpoint(path, require_rollout(path, rollout))
    if snapshot is None:
        raise ValueError(f"{path} lost its checkpoint while it was read: try again")
    return snapshot


def load_checkpoint(path: Path, rollout: int | None = None) -> Snapshot | None:
    """A run's checkpoint; None where there is none, ValueError if it is damaged.

    Args:
        path: run directory.
        rollout: after how many rollouts; default: the newest.
    """
    records = _records(path)
    chosen = records[-1:]
    if rollout is not None:
        chosen = [record for record in records if _rollout_of(record) == rollout]
    if not chosen:
        return None
    newest = chosen[0]
    remedy = f"delete {newest} to go on from the one before it" if records[1:] else "start anew"
    if newest != records[-1]:
        remedy = "choose another; the run itself goes on from a later one"
    table = newest.with_suffix(".safetensors")
    try:
        record = json.loads(newest.read_text())
        if digest(table) != record["sha256"]:
            raise ValueError(f"checkpoint {table} is damaged: {remedy}")
        with safe_open(table, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        counters = record["counters"]
        seeds = counters["seeds"]
        if not (isinstance(counters["rollouts"], int) and isinstance(seeds, list) and seeds):
            raise TypeError("rollouts and seeds are not counted")
        return Snapshot(tensors, counters)
    except PermissionError as error:
        raise ValueError(f"checkpoint {newest} cannot be read: {error.strerror}") from error
    except (
        OSError,
        KeyError,
        TypeError,
        SafetensorError,
        UnicodeDecodeError,
        json.JSONDecodeError,
    ) as error:
        raise ValueError(f"checkpoint {newest} cannot be read ({error}): {remedy}") from error


def _records(path: Path) -> list[Path]:
    return sorted((path / "checkpoint").glob(f"{_CHECKPOINT}.json"))


def _checkpoint_name(rollouts: int) -> str:
    return f"rollout-{rollouts:0{_DIGITS}d}"


def _rollout_of(record: Path) -> int:
    return int(record.stem.rpartition("-")[2])


def _stays(record: Path) -> bool:
    """Whether the save that wrote this checkpoint said that it is not to be replaced."""
    try:
        return bool(json.loads(record.read_text()).get("stays"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, AttributeError):
        return False
