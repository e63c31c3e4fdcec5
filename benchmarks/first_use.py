"""`make first-use`: wall-clock time of the README's commands in a fresh clone -> first_use/.

What is measured is the last commit, with the interpreter that runs this. Downloads count.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.command import run
from reports import provenance
from reports.files import ROOT

FOLDER = Path(__file__).parent / "first_use"
TARGETS = ("setup", "figure3", "figure3", "test", "figures", "report")


def measure_all() -> None:
    """Run every target once, one after another; a second one of a name finds the first's work."""
    origin = provenance.record("make first-use", {"processors": os.cpu_count()})
    rows = []
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), place], check=True)
        head = ["git", "-C", place, "rev-parse", "HEAD"]
        origin["commit"] = subprocess.check_output(head, text=True).strip()
        for target in TARGETS:
            again = any(row["target"] == target for row in rows)
            begin = time.perf_counter()
            command = ["make", "--quiet", f"PYTHON={sys.executable}", target]
            if subprocess.run(command, cwd=place, check=False).returncode:
                raise OSError(f"make {target} failed: nothing is written")
            seconds = time.perf_counter() - begin
            rows.append({"target": target, "again": int(again), "seconds": seconds})
    provenance.publish({"results.csv": pd.DataFrame(rows)}, FOLDER, origin)
    print(f"written: {FOLDER / 'results.csv'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; the exit status."""
    return run(
        "first-use",
        "Wall-clock time of the main commands in a fresh clone.",
        measure_all,
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
