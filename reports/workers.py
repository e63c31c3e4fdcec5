"""Jobs in worker processes: interruptible, and no worker outlives its parent."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from tqdm import tqdm

from maac_bench.heap import keep_freed_memory

_POLL_SECONDS = 5.0

Result = TypeVar("Result")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what was finished by then."""


def complete(
    jobs: Mapping[str, Callable[[], Result]],
    owner: str,
    on_done: Callable[[str, Result], object],
    kept: Callable[[], str],
    on_wait: Callable[[], object] = lambda: None,
) -> None:
    """Run every job, as many at a time as there are cores.

    Args:
        jobs: name to a picklable function without arguments.
        owner: whose jobs they are, for messages.
        on_done: called here, with the name and the result of each job as it ends.
        kept: says what is finished and where, when asked at an interruption.
        on_wait: called here every few seconds.

    Raises:
        Interrupted: Ctrl-C.
        OSError: a worker was killed.
    """
    workers = min(len(jobs), _cores())
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_begin_worker, initargs=(os.getpid(),)
    )
    try:
        pending: dict[Future[Result], str] = {pool.submit(job): name for name, job in jobs.items()}
        while pending:
            done, _ = wait(pending, _POLL_SECONDS, FIRST_COMPLETED)
            for future in done:
                on_done(pending.pop(future), future.result())
            on_wait()
    except KeyboardInterrupt:
        _stop(pool)
        raise Interrupted(
            f"interrupted: {kept()}; run the same command again to continue"
        ) from None
    except BrokenProcessPool as error:
        raise OSError(
            f"a worker of {owner} was killed, perhaps for lack of memory; what is finished "
            "is kept: run the same command again to continue"
        ) from error
    except BaseException:
        _stop(pool)
        raise
    pool.shutdown()


def _cores() -> int:
    """That this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin_worker(parent: int) -> None:
    # Ctrl-C is the parent's to handle; it ends the workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A progress bar's own lock is a named semaphore, which would outlive a worker that is ended.
    tqdm.set_lock(threading.RLock())
    keep_freed_memory()

    def follow() -> None:
        # A parent that is killed cannot end its workers, and they would wait for work for ever.
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _stop(pool: ProcessPoolExecutor) -> None:
    processes = list((pool._processes or {}).values())  # the public API can only wait for them
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
