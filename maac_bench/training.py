"""Training in a run directory: resume, progress, checkpoints."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from maac_bench.checkpoint import Snapshot, capture, restore
from maac_bench.config import Config, to_dict
from maac_bench.names import module_digests
from maac_bench.products import fast_products
from maac_bench.run import RunDirectory
from maac_bench.run_checkpoints import MOST_ROLLOUTS, checkpoint_rollouts, load_checkpoint
from maac_bench.run_records import read_identity
from maac_bench.tasks import TrainingTask, make_training_task, own_remarks
from maac_bench.trainer import Row, Trainer


@dataclass(frozen=True)
class RunSettings:
    """What a run is, apart from the algorithm's configuration.

    task: identifier. algorithm: the preset's name. seeds: stacked in one process. rollouts: to
    reach in all. device: torch's name. compiled: whether to fuse the update; None: where a C++
    compiler and Python's headers are at hand. keep_every: rollouts between checkpoints that stay;
    0: only the last ones.
    """

    task: str
    algorithm: str
    seeds: tuple[int, ...]
    rollouts: int
    out: Path
    device: str = "cpu"
    compiled: bool | None = None
    keep_every: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that cannot run."""
        distinct = len(set(self.seeds)) == len(self.seeds)
        # Tables of results hold 64 bits.
        if not self.seeds or not distinct or not 0 <= min(self.seeds) <= max(self.seeds) < 2**63:
            raise ValueError(
                f"seeds must be one or more, distinct, at least 0 and below 2^63, got {self.seeds}"
            )
        if self.rollouts < 1:
            raise ValueError(f"rollouts must be at least 1, got {self.rollouts}")
        if self.rollouts > MOST_ROLLOUTS:
            raise ValueError(f"rollouts must be at most {MOST_ROLLOUTS}, got {self.rollouts}")
        if self.keep_every < 0:
            raise ValueError(f"keep_every must be at least 0, got {self.keep_every}")
        try:
            device = torch.device(_known_device(self.device))
        except RuntimeError as error:
            raise ValueError(
                f"unknown device {self.device!r}; choose from cpu, cuda, cuda:N"
            ) from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError("device cuda is not available here")
        last = torch.cuda.device_count() - 1
        if device.type == "cuda" and (device.index or 0) > last:
            raise ValueError(f"device {self.device} is not there: the last is cuda:{last}")


def _known_device(name: str) -> str:
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {name!r}; choose from cpu, cuda, cuda:N")
    return name


def _missing_to_compile() -> str | None:
    """What torch.compile would need and this machine lacks."""
    # The one that torch looks for.
    usual = "clang++" if sys.platform == "darwin" else "g++"
    compiler = (os.environ.get("CXX", "").split() or [usual])[0]
    if shutil.which(compiler) is None:
        return f"C++ compiler ({compiler})"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "header Python.h (of Debian's package python3-dev, for example)"
    return None


def _compiled(settings: RunSettings) -> bool:
    """Whether updates are fused: as asked for, as the run has it, or where that is possible.

    Raises:
        ValueError: they are asked for, and something for it is missing.
    """
    missing, wish = _missing_to_compile(), settings.compiled
    held = _held(settings.out) if wish is None else None
    if held is not None:
        return held
    if wish and missing:
        raise ValueError(f"compile yes needs what is not found here: a {missing}")
    if wish is None and missing:
        tqdm.write(f"no {missing} found: the update runs unfused, at about half the speed")
    return missing is None if wish is None else wish


def _held(path: Path) -> bool | None:
    """Whether the updates of the run that is trained there are fused; None: there is none."""
    if not checkpoint_rollouts(path) or not (path / "config.json").exists():
        return None
    found: bool | None = read_identity(path).get("compiled")
    return found


def _require_compiler(path: Path) -> None:
    """ValueError if the fused updates of a run cannot go on here."""
    missing = _missing_to_compile()
    if missing:
        raise ValueError(
            f"{path} holds a run with fused updates, and there is no {missing} here: install it "
            "to go on"
        )


def _replaced(training: TrainingTask, config: Config, device: str) -> Iterator[str]:
    """Which of the user's wishes give way to another setting or the device, a line each."""
    task = training.task
    stated = ":" in task.name and not training.learns_outcome
    if stated and config.discount not in (None, task.discount):
        yield (
            f"the configuration's discount {config.discount} is used, not {task.discount} of "
            f"{task.name}"
        )
    rounds = torch.device(device).type == "cuda" and (
        torch.cuda.get_device_capability(device) >= (8, 0)  # NVIDIA's from Ampere on
    )
    nets = (config.actor, config.critic, config.model)
    if not rounds and any(net.precision == "tf32" for net in nets):
        yield f"{device} has no units for tf32: its products are full ones"


def train(settings: RunSettings, config: Config, provenance: dict[str, Any]) -> None:
    """Train until every seed has `rollouts` rollouts, going on from what the directory holds.

    Raises:
        ValueError: settings that do not fit the task or the directory.
        FloatingPointError: seeds that could not go on; the others are finished by then.
    """
    training_task = make_training_task(settings.task)
    for remark in (*own_remarks(training_task), *_replaced(training_task, config, settings.device)):
        tqdm.write(remark)
    compiled = _compiled(settings)
    identity = {
        "task": settings.task,
        "algorithm": settings.algorithm,
        "seeds": list(settings.seeds),
        "compiled": compiled,
        "device": torch.device(settings.device).type,
        "config": to_dict(config),
    }
    with fast_products() as onednn:
        origin = {**provenance, "onednn_products": onednn}
        if torch.device(settings.device).type == "cuda":
            origin["gpu"] = torch.cuda.get_device_name(settings.device)
        digests = module_digests(settings.task, settings.algorithm)
        if digests:
            origin["modules"] = digests
        run = RunDirectory(settings.out, identity, origin)
        try:
            if compiled:
                _require_compiler(settings.out)
            _continue(run, training_task, config, settings, compiled)
        finally:
            run.close()


def _continue(
    run: RunDirectory, task: TrainingTask, config: Config, settings: RunSettings, compiled: bool
) -> None:
    snapshot = run.load()
    if snapshot is not None and snapshot.counters["rollouts"] < settings.rollouts:
        for module in run.changed_modules():
            tqdm.write(
                f"{module} has changed since this run was trained: what follows is trained with "
                "what it says now (provenance.json says from which rollout on)"
            )
    seeds = settings.seeds if snapshot is None else snapshot.counters["seeds"]
    trainer = _new_trainer(task, config, seeds, settings, compiled)
    if snapshot is not None:
        restore(trainer, snapshot)
    total, done = settings.rollouts * task.steps, trainer.rollouts
    bar = tqdm(
        total=total, initial=min(done * task.steps, total), unit="step", desc=settings.algorithm
    )
    try:
        while trainer.seeds and done < settings.rollouts:
            rows = trainer.rollout(bar.update)
            failed = {failure.seed for failure in trainer.failures}
            run.log([row for row in rows if row["seed"] not in failed])
            bar.set_postfix(_postfix([row for row in rows if row["seed"] not in failed]))
            snapshot = capture(trainer)
            if failed:
                snapshot = _without_failures(run, trainer, snapshot)
                trainer.close()
                if not snapshot.counters["seeds"]:
                    break
                trainer = _new_trainer(task, config, snapshot.counters["seeds"], settings, compiled)
                restore(trainer, snapshot)
            run.save(snapshot, settings.keep_every)
            done = trainer.rollouts
    except KeyboardInterrupt as interruption:
        raise KeyboardInterrupt(
            f"interrupted after {done} rollouts: the same command goes on from there"
        ) from interruption
    finally:
        bar.close()
        trainer.close()
    remaining = [] if snapshot is None else snapshot.counters["seeds"]
    stopped = [seed for seed in settings.seeds if seed not in remaining]
    if stopped:
        raise FloatingPointError(
            f"stopped early: seeds {', '.join(map(str, stopped))}; what is needed to look at them "
            f"is in {settings.out}/seed-*/failure.json"
        )


def _without_failures(run: RunDirectory, trainer: Trainer, snapshot: Snapshot) -> Snapshot:
    """Keep the states of the seeds that failed, before and after; the others' go on."""
    try:  # not replaced yet: the rollout can be repeated from it
        before = load_checkpoint(run.path)
    except ValueError:  # damaged meanwhile, which is no reason to stop the others
        before = None
    for failure in trainer.failures:
        place = [trainer.seeds.index(failure.seed)]
        started = None if before is None else before.select(place)
        run.bury(failure.seed, failure.reason, snapshot.select(place), started)
        tqdm.write(f"seed {failure.seed} stopped: {failure.reason}")
    failed = {failure.seed for failure in trainer.failures}
    return snapshot.select([k for k, seed in enumerate(trainer.seeds) if seed not in failed])


def _new_trainer(
    task: TrainingTask, config: Config, seeds: Sequence[int], settings: RunSettings, compiled: bool
) -> Trainer:
    trainer = Trainer(task, config, seeds, settings.device)
    if compiled:
        trainer.compile()
    return trainer


def _postfix(rows: list[Row]) -> dict[str, str]:
    """Means over the seeds, for the progress bar."""

    def mean(name: str) -> float:
        return sum(row[name] for row in rows) / len(rows)

    shown = {}
    if rows and "return" in rows[0]:
        shown["return"] = f"{mean('return'):.0f}"
    if rows and "model_mse_0" in rows[0]:
        shown["model mse"] = f"{mean('model_mse_0'):.3g}"
    return shown
