"""`make bench-cuda`: agent updates on a GPU, for one and for stacked seeds -> cuda/results.csv.

As a run makes them, many in a row: `eager` with every kernel launched by itself, the others fused
and recorded as one CUDA graph. `floor_ms` is the time of the same matrix products alone, as a
graph, measured in turn; all are float32's but those of the rows with `tf32`. Every row has a
process of its own: they get ready side by side and are timed one after the other.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from threading import Barrier, Lock

import pandas as pd
import torch

from benchmarks.command import run
from benchmarks.floor import Row, flops, matrix_products, replay
from benchmarks.steps import ready_trainer
from maac_bench.cuda_graph import CudaGraph
from reports import provenance

FOLDER = Path(__file__).parent / "cuda"
_UPDATES, _REPEATS, _WARM = 100, 7, 5
# Algorithm, stacked seeds, fused and recorded.
_ROWS = [
    ("sac", 1, False),
    ("sac", 1, True),
    ("sac", 8, True),
    ("maac", 1, False),
    *(("maac", seeds, True) for seeds in (1, 2, 4, 8)),
    *(("maac-scaled-critic-tf32", seeds, True) for seeds in (1, 4)),
]
_all_ready: Barrier
_turn: Lock


def _share(all_ready: Barrier, turn: Lock) -> None:
    """Give a process what it waits for."""
    global _all_ready, _turn
    _all_ready, _turn = all_ready, turn


def measure(algorithm: str, seeds: int, compiled: bool) -> Row:
    """The row of one preset's update for `seeds` stacked seeds."""
    try:
        return _measured(algorithm, seeds, compiled)
    except BaseException:
        _all_ready.abort()  # the others need not wait
        raise


def _measured(algorithm: str, seeds: int, compiled: bool) -> Row:
    trainer = ready_trainer(algorithm, seeds, compiled=False, device="cuda")
    shapes = matrix_products(trainer.update)
    if compiled:
        trainer.compile()
    # Before there is anything else on the device, such as the floor's operands.
    megabytes = _peak_megabytes(trainer.update)
    seconds, alone = _in_turn(trainer.update, CudaGraph(replay(shapes, "cuda")))
    trainer.close()
    form = "step" if compiled else "step_eager"
    return {
        "name": f"{algorithm}_{form}_{seeds}_seeds",
        "ms": 1e3 * seconds,
        "ms_per_seed": 1e3 * seconds / seeds,
        "floor_ms": 1e3 * alone,
        "ratio": seconds / alone,
        "gflop": flops(shapes) / 1e9,
        "megabytes": megabytes,
    }


def _peak_megabytes(update: Callable[[], object]) -> float:
    """The most that is allocated while it is recorded, if it is, and runs.

    A recorded one allocates nothing anew: what it needs shows while it is recorded.
    """
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(_WARM):
        update()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 1e6


def _in_turn(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of one call of each, from many in a row."""
    for function in (first, second):
        for _ in range(_WARM):
            function()
    _all_ready.wait()
    with _turn:
        rounds = [(_seconds(first), _seconds(second)) for _ in range(_REPEATS)]
    return median(a for a, _ in rounds), median(b for _, b in rounds)


def _seconds(function: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(_UPDATES):
        function()
    torch.cuda.synchronize()
    return (time.perf_counter() - begin) / _UPDATES


def measure_all() -> None:
    """Measure, write the table and where it comes from, and print it."""
    if not torch.cuda.is_available():
        raise OSError("no CUDA device is available here")
    device = torch.cuda.get_device_name()
    origin = provenance.record("make bench-cuda", {"device": device, "cuda": torch.version.cuda})
    context = multiprocessing.get_context("spawn")
    shared = (context.Barrier(len(_ROWS), timeout=900), context.Lock())
    with ProcessPoolExecutor(len(_ROWS), context, _share, shared) as pool:
        found = list(pool.map(measure, *zip(*_ROWS, strict=True)))
    for row in found:
        print(
            "{name:38s} {ms:8.3f} ms, {ms_per_seed:8.3f} per seed, {ratio:.2f} x floor".format(
                **row
            )
        )
    provenance.publish({"results.csv": pd.DataFrame(found)}, FOLDER, origin)
    print(f"written: {FOLDER / 'results.csv'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; the exit status."""
    return run(
        "bench-cuda",
        "Agent updates on a GPU, for one and for stacked seeds.",
        measure_all,
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
