"""Run an experiment as independent units: in parallel, interruptible, each finished one kept.

A unit is a named piece of work whose result is a table. Results live under
`runs/<experiment>-<fingerprint>/`, where the fingerprint covers the configuration and the source
code, so a changed program never reuses an old number.
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs"
PUBLISHED_DIGITS = "%.6g"
"""Float format of committed tables: digits that repeat on machines of the same kind."""


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
        digest = hashlib.sha256(repr(sorted(self.configuration.items())).encode())
        for package in ("analytic", "maac_bench", f"reports/{self.name}"):
            for path in sorted((ROOT / package).rglob("*.py")):
                if path.name not in ("cli.py", "figure.py"):
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
    directory.mkdir(parents=True, exist_ok=True)
    paths = {name: directory / f"{name}.csv" for name in experiment.units}
    missing = [name for name, path in paths.items() if not path.exists()]
    if missing:
        _run_missing(experiment, {name: paths[name] for name in missing}, len(paths))
    # Read back even what was just computed: a first and a second run then see the same digits.
    return pd.concat([pd.read_csv(path) for path in paths.values()], ignore_index=True)


def _run_missing(experiment: Experiment, paths: Mapping[str, Path], total: int) -> None:
    _check_writable(next(iter(paths.values())).parent)
    workers = min(len(paths), os.cpu_count() or 1)
    bar = tqdm(total=total, initial=total - len(paths), desc=experiment.name, unit="unit")
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_quiet_worker)
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
        finished = total - len(paths) + sum(path.exists() for path in paths.values())
        raise Interrupted(
            f"interrupted: {finished} of {total} units of {experiment.name} are finished and kept "
            "in runs/; run the same command again to continue"
        ) from None
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


def write_csv(table: pd.DataFrame, path: Path, digits: str | None = None) -> None:
    """Write a table so that a half-written file never carries the final name.

    Args:
        table: what to write.
        path: where.
        digits: float format; None keeps every digit.
    """
    temporary = path.with_suffix(".partial")
    table.to_csv(temporary, index=False, float_format=digits, lineterminator="\n")
    temporary.replace(path)


def _quiet_worker() -> None:
    # Ctrl-C is the parent's to handle; it ends the workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _stop(pool: ProcessPoolExecutor) -> None:
    processes = list((pool._processes or {}).values())  # the public API can only wait for them
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


def _check_writable(directory: Path) -> None:
    probe = directory / ".writable"
    probe.touch()
    probe.unlink()
