"""A run is a directory: configuration, provenance, metrics, checkpoints, written atomically.

config.json        task, algorithm, seeds and every setting: what the numbers depend on
provenance.json    commit, versions, machine; who continued the run, and from where on
seed-K/metrics.csv one row per rollout; columns that begin with "seconds" are wall-clock
seed-K/events...   the same for TensorBoard
seed-K/failure...  why a seed stopped for good, and its state then
seed-K/before-...  its state before the rollout in which it stopped
checkpoint/        the last two states, and every so many rollouts one to keep; safetensors and JSON
lock               empty; held by the process that trains
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from maac_bench.checkpoint import Snapshot
from maac_bench.run_checkpoints import load_checkpoint, write_checkpoint
from maac_bench.run_files import lock, write_tensors, write_text
from maac_bench.run_records import (
    changed_modules,
    continuations,
    read_identity,
    read_metrics,
    record_at,
    require_same,
)
from maac_bench.trainer import Row


class RunDirectory:
    """An open run; a second process on the same directory is refused.

    Args:
        path: the directory, made if it is not there.
        identity: what the numbers depend on; must equal that of a run already there.
        provenance: where the numbers come from; one that differs from that of a run already there
            is added to it, with the rollout from which on it holds.

    Raises:
        ValueError: the directory holds another run, is no run, or is in use.
    """

    def __init__(
        self, path: Path, identity: Mapping[str, Any], provenance: Mapping[str, Any]
    ) -> None:
        self.path, self.identity = path, json.loads(json.dumps(identity))
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path} is not a directory")
        held = {child.name for child in path.iterdir()} if path.is_dir() else set()
        held -= {f"{name}.partial" for name in ("config.json", "provenance.json")}
        if held - {"lock", "provenance.json"} and "config.json" not in held:
            raise ValueError(f"{path} is not empty and holds no run: choose another directory")
        path.mkdir(parents=True, exist_ok=True)
        self._lock = lock(path)
        try:
            self._begin(provenance)
        except BaseException:
            self._lock.close()
            raise
        self._provenance = json.loads(json.dumps(provenance))
        self._continued_from: int | None = None
        self._rows: dict[int, list[dict[str, str]]] = {}
        self._writers: dict[int, SummaryWriter] = {}

    def _begin(self, provenance: Mapping[str, Any]) -> None:
        """Make the directory this run, or find that it is."""
        config = self.path / "config.json"
        held = read_identity(self.path) if config.exists() else None
        # One that stopped in its first rollout left nothing that another's could mix with.
        trained = any(self.path.glob("seed-*/*")) or any(self.path.glob("checkpoint/*"))
        if held is not None and (trained or held == self.identity):
            require_same(held, self.identity, self.path)
        else:
            self._write_provenance(provenance)
            # Last: it is what makes the directory a run.
            write_text(config, json.dumps(self.identity, indent=2) + "\n")
        (self.path / "checkpoint").mkdir(exist_ok=True)

    def load(self) -> Snapshot | None:
        """The newest checkpoint, and metrics cut back to it; None where there is none.

        Raises:
            ValueError: a file is damaged, or lacks what the others show to have been there.
        """
        snapshot = load_checkpoint(self.path)
        rollouts = 0 if snapshot is None else snapshot.counters["rollouts"]
        alive = self.identity["seeds"] if snapshot is None else snapshot.counters["seeds"]
        for seed in self.identity["seeds"]:
            rows = read_metrics(self.path, seed)
            self._rows[seed] = [row for row in rows if int(row["rollout"]) <= rollouts]
            if seed in alive:
                self._require_history(seed, rows, rollouts)
        if rollouts:
            continuations(self.path)
            self._continued_from = rollouts
        else:  # nothing of an earlier start is left
            self._write_provenance(self._provenance)
        return snapshot

    def _require_history(self, seed: int, rows: list[dict[str, str]], rollouts: int) -> None:
        """Refuse to go on where rows are lost or doubled, or all checkpoints of a run are gone.

        Rows are written before the checkpoint, so one without any is a run that was killed. Rows
        beyond the checkpoint are those of a later one that is gone: they are made again.
        """
        done = [int(row["rollout"]) for row in rows]
        if [k for k in done if k <= rollouts] != list(range(1, rollouts + 1)):
            raise ValueError(
                f"{self.path / f'seed-{seed}' / 'metrics.csv'} has not each of the {rollouts} "
                "rollouts of the checkpoint once: restore the file, or choose another directory to "
                "start anew"
            )
        if not rollouts and len(done) > 1:
            raise ValueError(
                f"{self.path} has metrics of {len(done)} rollouts and no checkpoint: restore it, "
                "or choose another directory to start anew"
            )

    def changed_modules(self) -> list[str]:
        """Modules of the user's own that are not what they were when the run was last trained."""
        rollouts = self._continued_from or 0
        return changed_modules(self.path, rollouts, self._provenance.get("modules", {}))

    def _record_continuation(self, rollouts: int) -> None:
        """Say who trains on after that many rollouts; who has nothing left is forgotten."""
        known, earlier = continuations(self.path)
        earlier = [entry for entry in earlier if entry["from_rollout"] <= rollouts]
        latest = record_at(self.path, rollouts)
        # The command differs when a run is prolonged; what its numbers depend on may not.
        changed = any(
            latest.get(name) != value
            for name, value in self._provenance.items()
            if name != "command"
        )
        if changed:
            earlier.append({"from_rollout": rollouts + 1, **self._provenance})
        self._write_provenance({**known, "continued": earlier} if earlier else known)

    def _write_provenance(self, record: Mapping[str, Any]) -> None:
        write_text(self.path / "provenance.json", json.dumps(record, indent=2) + "\n")

    def log(self, rows: list[Row]) -> None:
        """Add one row per seed to the metrics and to TensorBoard."""
        for row in rows:
            seed, values = int(row["seed"]), {n: v for n, v in row.items() if n != "seed"}
            texts = {name: _number(value) for name, value in values.items()}
            self._rows.setdefault(seed, []).append(texts)
            folder = self.path / f"seed-{seed}"
            folder.mkdir(exist_ok=True)
            write_text(folder / "metrics.csv", _table(self._rows[seed]))
            if seed not in self._writers:
                step = int(row["env_steps"])
                self._writers[seed] = SummaryWriter(str(folder), purge_step=step)
            for name, value in values.items():
                self._writers[seed].add_scalar(name, value, int(row["env_steps"]))

    def save(self, snapshot: Snapshot, keep_every: int = 0) -> None:
        """Write a checkpoint; the previous one stays until this one is whole.

        Args:
            snapshot: what to write.
            keep_every: rollouts between checkpoints that are not replaced by later ones; 0: none.
        """
        if self._continued_from is not None:
            # Only now is there something that this process trained.
            self._record_continuation(self._continued_from)
            self._continued_from = None
        write_checkpoint(self.path, snapshot, keep_every)
        for seed in snapshot.counters["seeds"]:
            # It has come past what stopped it in an earlier start.
            for name in ("failure.json", "failure.safetensors", "before-failure.safetensors"):
                (self.path / f"seed-{seed}" / name).unlink(missing_ok=True)

    def bury(
        self, seed: int, reason: str, snapshot: Snapshot, before: Snapshot | None = None
    ) -> None:
        """Keep what is needed to look at a seed that cannot go on.

        Args:
            seed: which.
            reason: what was not finite, and when.
            snapshot: its state after the rollout in which that was.
            before: its state before that rollout, from which it can be repeated; None: the first.
        """
        folder = self.path / f"seed-{seed}"
        folder.mkdir(exist_ok=True)
        write_tensors(folder / "failure.safetensors", snapshot.tensors)
        record = {"reason": reason, "counters": snapshot.counters}
        if before is not None:
            write_tensors(folder / "before-failure.safetensors", before.tensors)
            record["counters_before"] = before.counters
        write_text(folder / "failure.json", json.dumps(record, indent=2) + "\n")

    def close(self) -> None:
        """Flush TensorBoard and let others in."""
        for writer in self._writers.values():
            writer.close()
        self._lock.close()


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.9g}"


def _table(rows: list[dict[str, str]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
