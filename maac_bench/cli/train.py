"""`maac-bench train`."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from maac_bench.config import Config, leaves, to_dict
from maac_bench.presets import preset
from maac_bench.run_checkpoints import checkpoint_rollouts
from maac_bench.sizes import Size
from maac_bench.training import RunSettings, train
from reports.provenance import record

DEFAULT_TASK, DEFAULT_ALGORITHM = "maac_bench/HalfCheetah-v0", "maac"


@dataclass(frozen=True)
class Train:
    """Train an algorithm on a task; the same command continues an interrupted run.

    Every field of the configuration is an option; the defaults shown are those of --algo, --task
    and --size.
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    out: Path
    """run directory"""
    task: str = DEFAULT_TASK
    """one of `maac-bench list`, or any Gymnasium identifier (your own: module:Name-v0)"""
    algo: str = DEFAULT_ALGORITHM
    """which algorithm; `maac-bench list` names them (your own: module:name)"""
    size: Size = "paper"
    """as in the paper's code, or smaller nets, batches and D_model; tiny: other rates and a
    discount of 0.98, too"""
    seeds: tuple[int, ...] = (0,)
    """independent runs, trained together in one process"""
    rollouts: int = 50
    """rollouts in all, the random ones included; each has the time limit's number of steps, so
    it is an episode where none ends early"""
    device: str = "cpu"
    """cpu, cuda or cuda:N"""
    compile: Literal["auto", "yes", "no"] = "auto"
    """fuse the update with torch.compile (a minute at the start); auto: with a C++ compiler
    and Python's headers"""
    threads: int | None = None
    """CPU threads; default: 1 for tiny, otherwise all cores"""
    keep_every: int = 0
    """rollouts between checkpoints that stay; 0: only the last two"""

    def execute(self) -> None:
        """Train."""
        threads = 1 if self.threads is None and self.size == "tiny" else self.threads
        if threads is not None:
            most = 4 * (os.cpu_count() or 1)
            if not 1 <= threads <= most:
                raise ValueError(f"threads must be 1 to {most} here, got {threads}")
            torch.set_num_threads(threads)
        self._require_effect()
        compiled = {"auto": None, "yes": True, "no": False}[self.compile]
        settings = RunSettings(
            self.task,
            self.algo,
            self.seeds,
            self.rollouts,
            self.out,
            self.device,
            compiled,
            self.keep_every,
        )
        command = shlex.join(["maac-bench", *sys.argv[1:]])
        origin = record(command, {"threads": torch.get_num_threads()})
        train(settings, self.config, origin)
        held = checkpoint_rollouts(self.out)[-1]
        print(f"{held} rollouts of {self._described()} on {self.task} in {self.out}")
        random = self.config.data.random_rollouts
        if held <= random:
            print(f"nothing is trained yet: the first {random} rollouts are of random actions")

    def _changes(self) -> dict[str, Any]:
        """Options of the configuration that differ from the algorithm's own, and their values."""
        own = leaves(to_dict(preset(self.algo, self.task, self.size)))
        asked = leaves(to_dict(self.config))
        return {name: value for name, value in asked.items() if value != own[name]}

    def _described(self) -> str:
        """The algorithm, and what was changed: a run keeps its name then."""
        changes = [_given(name, value) for name, value in self._changes().items()]
        return f"{self.algo} ({', '.join(changes)})" if changes else self.algo

    def _require_effect(self) -> None:
        """Refuse options that nothing would read."""
        for name in self._changes():
            for beginning, reason in self.config.idle.items():
                if name.startswith(beginning):
                    raise ValueError(
                        f"{_option(name)} has no effect on this configuration: {reason}"
                    )


def _option(name: str) -> str:
    """What a field of the configuration is called on the command line."""
    return "--" + name.replace("_", "-")


def _given(name: str, value: object) -> str:
    """A field and its value as they are given there."""
    if isinstance(value, bool):
        group, _, last = name.rpartition(".")
        return _option(name if value else f"{group}.no_{last}")
    numbers = value if isinstance(value, tuple | list) else (value,)
    return " ".join([_option(name), *map(str, numbers)])
