"""`make bench-run`: what a run costs when it is as old as the paper's -> long_run/.

The agent is that of `maac-bench train --algo maac`, one seed at the paper's sizes on HalfCheetah,
in its 199th and 200th episode; all episodes before are random ones, so that D_env is as long as
theirs without days of training. The first fit of a model begins at nothing and would go on for many
epochs on so many data: fits end after twenty. The last episode's fit goes on from it, as all but
one of a run do, and is the one whose times count; `model_epochs` says when it was at its best.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from benchmarks.command import run
from maac_bench.config import Config
from maac_bench.heap import keep_freed_memory
from maac_bench.presets import preset
from maac_bench.run_records import read_metrics
from maac_bench.training import RunSettings, train
from reports import provenance

FOLDER = Path(__file__).parent / "long_run"
TASK, ALGORITHM, SEED, EPISODES = "maac_bench/HalfCheetah-v0", "maac", 0, 200
_MAX_EPOCHS = 20
_PARTS = ("env", "model", "branch", "update", "evaluate")


def measure(task: str, config: Config, episodes: int, folder: Path) -> list[dict[str, object]]:
    """Train the last two episodes in this process, and say what the last one cost.

    Args:
        task: identifier.
        config: the algorithm; its numbers of random rollouts and of epochs are replaced.
        episodes: in all, at least two.
        folder: of the run; new.

    Returns:
        Rows of quantity, value, unit; shares are of the episode's seconds.
    """
    aged = replace(
        config,
        data=replace(config.data, random_rollouts=episodes - 2),
        model=replace(config.model, max_epochs=_MAX_EPOCHS),
    )
    settings = RunSettings(task, ALGORITHM, (SEED,), episodes, folder)
    train(settings, aged, {"commit": provenance.commit()})
    last = {name: float(value) for name, value in read_metrics(folder, SEED)[-1].items()}
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    saved = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    rows: list[dict[str, object]] = [
        {"quantity": "peak_memory", "value": peak, "unit": "MB"},
        {"quantity": "run_directory", "value": saved / 1e6, "unit": "MB"},
        {"quantity": "transitions", "value": last["env_steps"], "unit": "rows"},
        {"quantity": "model_epochs", "value": last["model_epochs"], "unit": "epochs"},
        {"quantity": "episode", "value": last["seconds"], "unit": "s"},
    ]
    for part in _PARTS:
        seconds = last[f"seconds_{part}"]
        rows += [
            {"quantity": part, "value": seconds, "unit": "s"},
            {"quantity": f"{part}_share", "value": seconds / last["seconds"], "unit": "1"},
        ]
    return rows


def measure_all() -> None:
    """Measure, write the table and where it comes from, and print it."""
    keep_freed_memory()  # as every command does
    threads = {"threads": torch.get_num_threads(), "processors": os.cpu_count()}
    run = {"task": TASK, "algorithm": ALGORITHM, "seed": SEED, "episodes": EPISODES}
    origin = provenance.record("make bench-run", {**threads, **run})
    with tempfile.TemporaryDirectory() as place:
        config = preset(ALGORITHM, TASK, "paper")
        rows = measure(TASK, config, EPISODES, Path(place) / "run")
    for row in rows:
        print(f"{row['quantity']:16s} {row['value']:12.4g} {row['unit']}")
    provenance.publish({"results.csv": pd.DataFrame(rows)}, FOLDER, origin)
    print(f"written: {FOLDER / 'results.csv'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; the exit status."""
    return run(
        "bench-run", "Memory and time of a run as old as the paper's.", measure_all, arguments
    )


if __name__ == "__main__":
    sys.exit(main())
