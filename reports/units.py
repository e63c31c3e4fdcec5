"""Run an experiment as independent units: in parallel, interruptible, each finished one kept.

A unit is a named piece of work whose result is a table. Results live under
`runs/<experiment>-<fingerprint>/`, where the fingerprint covers the configuration and the source
code, so a changed program never reuses an old number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from reports.files import ROOT, file_digest, require_writable, write_csv
from reports.workers import complete

RUNS = ROOT / "runs"
# What a finished unit's numbers depend on besides our own source.
_NUMERIC_PACKAGES = ("gymnasium", "mujoco", "numpy", "scipy", "torch")
# Modules that only read finished units.
_NOT_COMPUTING = ("__main__.py", "figure.py", "report.py", "tables.py")


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
            if path.name not in _NOT_COMPUTING and path.parent.name != "cli":
                digest.update(path.read_bytes())
        return runs / f"{self.name}-{digest.hexdigest()[:12]}"


def run(experiment: Experiment, runs: Path = RUNS) -> pd.DataFrame:
    """Every unit's table, concatenated in the units' order; finished ones are read, not rerun.

    Args:
        experiment: what to run.
        runs: where finished units are kept.

    Raises:
        workers.Interrupted: Ctrl-C; the finished units are on disk.
        OSError: the folder cannot be written, or a worker was killed.
    """
    directory = experiment.directory(runs)
    require_writable(directory)
    paths = {name: directory / f"{name}.csv" for name in experiment.units}
    missing = [name for name, path in paths.items() if not _is_intact(path)]
    if missing:
        _run_missing(experiment, {name: paths[name] for name in missing}, len(paths))
        if not all(map(_is_intact, paths.values())):
            raise OSError(f"{directory} has been changed by somebody else: run the same again")
    # Read back even what was just computed: a first and a second run then see the same digits.
    tables = [pd.read_csv(path) for path in paths.values()]
    # A table without rows has no types either, and would take them from the others.
    return pd.concat([one for one in tables if len(one)] or tables[:1], ignore_index=True)


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _is_intact(path: Path) -> bool:
    """Whether a unit is finished and its table is as it was written."""
    if not (path.exists() and _digest_path(path).exists()):
        return False
    return file_digest(path) == _digest_path(path).read_text()


def _run_missing(experiment: Experiment, paths: Mapping[str, Path], total: int) -> None:
    units = {name: partial(_run_unit, experiment.units[name], path) for name, path in paths.items()}
    folder, before = next(iter(paths.values())).parent, total - len(paths)

    def kept() -> str:
        finished = before + sum(_is_intact(path) for path in paths.values())
        return f"{finished} of {total} units of {experiment.name} are finished and kept in {folder}"

    with tqdm(total=total, initial=before, desc=experiment.name, unit="unit") as bar:
        complete(units, experiment.name, lambda _name, _result: bar.update(), kept)


def _run_unit(unit: Callable[[], pd.DataFrame], path: Path) -> None:
    # One thread per unit: the same sums in the same order however many cores there are.
    torch.set_num_threads(1)
    table = unit()
    write_csv(table, path)
    _digest_path(path).write_text(file_digest(path))
