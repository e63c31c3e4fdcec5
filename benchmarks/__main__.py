"""`make bench`: agent updates beside peers, estimators beside their floor -> results.csv.

`floor_ms` is the time of the same matrix products alone, measured in turn; `ratio` is the median
of ms / floor_ms.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import torch

from benchmarks import gradients, peers, steps
from benchmarks.command import run
from maac_bench.heap import keep_freed_memory
from maac_bench.products import fast_products
from reports import provenance

FOLDER = Path(__file__).parent


def measure_all() -> None:
    """Measure everything, write the table and where it comes from, and print it."""
    keep_freed_memory()  # as every command does; the peers have it, too
    configuration = {"threads": torch.get_num_threads(), "processors": os.cpu_count()}
    origin = provenance.record("make bench", {**configuration, "peers": peers.versions()})
    found = []
    with fast_products() as fast:
        origin["configuration"]["onednn_products"] = fast
    # Peers first, while no other thread pool has been used; products as training and scoring do.
    for measure, products in (
        (peers.rows, nullcontext),
        (steps.rows, fast_products),
        (steps.rows_of_default_products, nullcontext),
        (gradients.rows, nullcontext),
    ):
        with products():
            rows = measure()
        for row in rows:
            found.append(row)
            beside = f", {row['ratio']:.2f} x floor" if "ratio" in row else ""
            print(f"{row['name']:26s} {row['ms']:8.2f} ms{beside}", flush=True)
    provenance.publish({"results.csv": pd.DataFrame(found)}, FOLDER, origin)
    print(f"written: {FOLDER / 'results.csv'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; the exit status."""
    return run(
        "bench",
        "Agent updates beside peers, estimators beside their floor.",
        measure_all,
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
