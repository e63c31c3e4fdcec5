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
        torch.ones({})
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
churn()
print(churn())
"""


KEPT = "from maac_bench.heap import keep_freed_memory; keep_freed_memory()"


def faults(preparation: str, size: int) -> int:
    """Page faults of 20 times `size` numbers taken and freed, in a process of their own."""
    run = [sys.executable, "-c", CHURN.format(preparation, size)]
    return int(subprocess.run(run, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"),
    reason="needs the GNU C library",
)
def test_memory_that_is_freed_is_not_taken_from_the_system_again():
    assert faults(KEPT, 2**24) < 1000 < faults("", 2**24)
    assert faults(KEPT, 2**21) < 1000, "nor where it never was"
