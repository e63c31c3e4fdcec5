import ctypes
import subprocess
import sys

import pytest

CHURN = """
import resource
import torch
{}
def churn():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
churn()
print(churn())
"""


def faults(preparation: str) -> int:
    """Page faults of 20 times 64 MB taken and freed, in a process of their own."""
    run = [sys.executable, "-c", CHURN.format(preparation)]
    return int(subprocess.run(run, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"),
    reason="needs the GNU C library",
)
def test_memory_that_is_freed_is_not_taken_from_the_system_again():
    kept = faults("from maac_bench.heap import keep_freed_memory; keep_freed_memory()")
    assert kept < 1000 < faults("")
