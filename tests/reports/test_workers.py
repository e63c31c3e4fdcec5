"""Jobs in worker processes: what ends when, and what workers may touch."""

import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from tqdm import tqdm
from tqdm.std import TqdmDefaultWriteLock

from reports.workers import _cores, complete


def sleep_on(folder: Path) -> None:
    (folder / "begun").touch()
    time.sleep(60.0)


def fail_beside(folder: Path) -> None:
    while not (folder / "begun").exists():
        time.sleep(0.01)
    raise ValueError("this one is broken")


def test_a_failing_job_ends_the_others(tmp_path, monkeypatch):
    """Otherwise its message would wait for theirs, which may take hours."""
    monkeypatch.setattr("reports.workers._cores", lambda: 2)
    jobs = {"slow": partial(sleep_on, tmp_path), "broken": partial(fail_beside, tmp_path)}
    with pytest.raises(ValueError, match="this one is broken"):
        complete(jobs, "owner", lambda *_done: None, str)
    deadline = time.monotonic() + 30
    while multiprocessing.active_children():
        assert time.monotonic() < deadline, "the other one goes on"
        time.sleep(0.1)


def habits() -> tuple[bool, bool]:
    ignores = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return ignores, isinstance(tqdm.get_lock(), TqdmDefaultWriteLock)


def test_workers_leave_ctrl_c_to_their_parent_and_share_no_semaphore():
    found, waited = {}, []
    complete({"a": habits}, "owner", found.__setitem__, str, lambda: waited.append(0))
    assert found == {"a": (True, False)}
    assert waited


def test_as_many_at_a_time_as_this_process_may_use_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    assert _cores() == 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert _cores() == 5
