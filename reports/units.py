"""Run an experiment as independent units: in parallel, interruptible, each finished one kept.

A unit is a named piece of work whose result is a table. Results live under
`runs/<experiment>-<fingerprint>/`, where the fingerprint covers the configuration and the source
code, so a changed program never reuses an old number.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from reports.files import ROOT, file_digest, require_writable, write_csv

RUNS = ROOT / "runs"
# What a finished unit's numbers depend on besides our own source.
_NUMERIC_PACKAGES = ("numpy", "scipy", "torch")
# Modules that only read finished units.
_NOT_COMPUTING = ("cli.py", "__main__.py", "figure.py", "report.py", "tables.py")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what was finished by then."""


@dataclass(frozen=True)
class Experiment:
    """What a report runs.

    name: folder under `reports/`. units: unit name to a picklable function without arguments that
    returns the unit's table. configuration: everything the numbers depend on besides the code.
    """

    name: str
    units: Mapping[str, Callable[[], pd.DataFrame]]
    configuration: Mapping[str, Any]

    def directory(self, runs: Path) -> Path:
        """Where this configuration of this code keeps its finished units."""
        settings = [sorted(self.configuration.items()), [version(p) for p in _NUMERIC_PACKAGES]]
        digest = hashlib.sha256(repr(settings).encode())
        folders = [ROOT / name for name in ("analytic", "maac_bench", f"reports/{self.name}")]
        for path in [Path(__file__), *(p for f in folders for p in sorted(f.rglob("*.py")))]:
            if path.name not in _NOT_COMPUTING:
                digest.update(path.read_bytes())
        return runs / f"{self.name}-{digest.hexdigest()[:12]}"


def run(experiment: Experiment, runs: Path = RUNS) -> pd.DataFrame:
    """Every unit's table, concatenated in the units' order; finished ones are read, not rerun.

    Args:
        experiment: what to run.
        runs: where finished units are kept.

    Raises:
        Interrupted: Ctrl-C; the finished units are on disk.
        OSError: the folder cannot be written.
    """
    directory = experiment.directory(runs)
    require_writable(directory)
    paths = {name: directory / f"{name}.csv" for name in experiment.units}
    missing = [name for name, path in paths.items() if not _is_intact(path)]
    if missing:
        _run_missing(experiment, {name: paths[name] for name in missing}, len(paths))
    # Read back even what was just computed: a first and a second run then see the same digits.
    return pd.concat([pd.read_csv(path) for path in paths.values()], ignore_index=True)


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _is_intact(path: Path) -> bool:
    """Whether a unit is finished and its table is as it was written."""
    if not (path.exists() and _digest_path(path).exists()):
        return False
    return file_digest(path) == _digest_path(path).read_text()


def _run_missing(experiment: Experiment, paths: Mapping[str, Path], total: int) -> None:
    workers = min(len(paths), os.cpu_count() or 1)
    bar = tqdm(total=total, initial=total - len(paths), desc=experiment.name, unit="unit")
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_begin_worker, initargs=(os.getpid(),)
    )
    try:
        pending: set[Future[None]] = {
            pool.submit(partial(_run_unit, experiment.units[name], path))
            for name, path in paths.items()
        }
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
                bar.update()
    except KeyboardInterrupt:
        _stop(pool)
        finished = total - len(paths) + sum(_is_intact(path) for path in paths.values())
        folder = next(iter(paths.values())).parent
        raise Interrupted(
            f"interrupted: {finished} of {total} units of {experiment.name} are finished and kept "
            f"in {folder}; run the same command again to continue"
        ) from None
    except BrokenProcessPool as error:
        raise OSError(
            f"a worker of {experiment.name} was killed, perhaps for lack of memory; finished units "
            "are kept: run the same command again to continue"
        ) from error
    except BaseException:
        _stop(pool)
        raise
    finally:
        bar.close()
    pool.shutdown()


def _run_unit(unit: Callable[[], pd.DataFrame], path: Path) -> None:
    # One thread per unit: the same sums in the same order however many cores there are.
    torch.set_num_threads(1)
    table = unit()
    write_csv(table, path)
    _digest_path(path).write_text(file_digest(path))


def _begin_worker(parent: int) -> None:
    # Ctrl-C is the parent's to handle; it ends the workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

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
