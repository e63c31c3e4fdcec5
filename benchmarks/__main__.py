"""`make bench`: agent updates beside peers, estimators beside their floor -> results.csv.

`floor_ms` is the time of the same matrix products alone, measured in turn; `ratio` is the median
of ms / floor_ms.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks import gradients, peers, steps

RESULTS = Path(__file__).parent / "results.csv"


def main() -> None:
    """Measure everything, write the table and print it."""
    found = []
    for part in (steps, peers, gradients):
        for row in part.rows():
            found.append(row)
            beside = f", {row['ratio']:.2f} x floor" if "ratio" in row else ""
            print(f"{row['name']:26s} {row['ms']:8.2f} ms{beside}", flush=True)
    pd.DataFrame(found).to_csv(RESULTS, index=False, float_format="%.4g")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
