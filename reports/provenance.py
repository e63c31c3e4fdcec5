"""Where a report's data come from: commit, versions, seeds and configuration, beside the data."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from reports.files import PUBLISHED_DIGITS, ROOT, file_digest, stage, stage_csv

_PACKAGES = ("gymnasium", "matplotlib", "mujoco", "numpy", "pandas", "scipy", "torch")


_SOURCES = ("*.py", "pyproject.toml", "constraints.txt")
MADE_WITH = ", made with "
"""Between a run's commit and the versions it was made with, where they are others than here."""

_UNKNOWN = "unknown (not a git checkout)"


def commit() -> str:
    """The commit of the code that runs, marked if what decides its numbers differs from it."""
    try:
        # Installed into somebody else's repository, git would name their commit.
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return _UNKNOWN
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=all", "--", *_SOURCES)
    except (OSError, subprocess.CalledProcessError):
        return _UNKNOWN
    return f"{head} (with uncommitted changes)" if changed else head


def _git(*arguments: str) -> str:
    result = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def record(command: str, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance of data that are about to be produced, by the code as it is now."""
    packages = versions()
    python = packages.pop("python")
    return {
        "command": command,
        "commit": commit(),
        "configuration": dict(configuration),
        "python": python,
        "packages": packages,
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "vectors": _vectors(),
        },
    }


def versions() -> dict[str, str]:
    """Of Python and the packages that numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def _vectors() -> str:
    """The widest vector instructions of the processor, on which the last digits depend."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return "unknown"
    return next((name for name in ("avx512f", "avx2", "avx", "asimd") if name in words), "unknown")


def publish(
    tables: Mapping[str, pd.DataFrame],
    folder: Path,
    origin: Mapping[str, Any],
    beside: Mapping[str, Callable[[], pd.DataFrame]] | None = None,
) -> bool:
    """Write tables and provenance into a report's folder; True if they changed what is there.

    The record carries a digest of each table. Data that repeat the published ones byte for byte,
    under the same configuration, leave the record alone: it then still names the commit that first
    produced them. Everything is written under other names first and renamed at the end, the record
    last: a full disk, or an interruption before that, leaves what was there. One between two
    renames shows as a digest that does not fit, and the next publication mends it.

    Args:
        tables: by file name.
        folder: the report's.
        origin: from `record`, made before the run.
        beside: tables that go with the data without repeating, such as timings, by file name: made
            when the data change, or where they are missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staged: dict[str, Path] = {}
    try:
        for name, table in tables.items():
            staged[name] = stage_csv(table, folder / name, PUBLISHED_DIGITS)
        digests = {name: file_digest(path) for name, path in staged.items()}
        new = json.loads(json.dumps({**origin, "tables": digests}, default=str))
        old = _known(folder)
        changed = any(old.get(key) != new[key] for key in ("tables", "configuration"))
        for name, make in (beside or {}).items():
            if changed or not (folder / name).exists():
                staged[name] = stage_csv(make(), folder / name, PUBLISHED_DIGITS)
        if changed:
            text = json.dumps(new, indent=2) + "\n"
            path = folder / "provenance.json"
            staged[path.name] = stage(lambda temporary: temporary.write_text(text), path)
        for name, temporary in staged.items():
            temporary.replace(folder / name)
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)
    return changed


def _known(folder: Path) -> Mapping[str, Any]:
    """What a folder says of its data; nothing if it has none, or if that is damaged."""
    try:
        return load(folder)
    except ValueError:
        return {}


class _Entries(dict[str, Any]):
    """Of a file, which an entry that is asked for and missing is missing from."""

    def __init__(self, path: Path, entries: Mapping[str, Any]) -> None:
        super().__init__(entries)
        self.path = path

    def __missing__(self, key: str) -> NoReturn:
        raise ValueError(f"{self.path} is damaged (it has no {key!r}): run the report again")


def load(folder: Path) -> dict[str, Any]:
    """A report's provenance; ValueError with the remedy if it is missing or damaged."""
    path = folder / "provenance.json"
    if not path.exists():
        raise ValueError(f"{folder} has no data yet: run the report before drawing it")
    try:
        result: dict[str, Any] = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}): run the report again") from error
    if not isinstance(result, dict) or not {"commit", "configuration"} <= set(result):
        raise ValueError(f"{path} names no commit or configuration: run the report again")
    result = _Entries(path, result)
    for name in ("configuration", "tables", "runs", "identities"):
        if not isinstance(result.get(name, {}), dict):
            raise ValueError(
                f"{path} is damaged ({name} has no named entries): run the report again"
            )
    result["configuration"] = _Entries(path, result["configuration"])
    return result


def made_by(folder: Path) -> tuple[str, str] | None:
    """The report and the profile whose data a folder holds; None for none, or damaged ones."""
    known = _known(folder)
    report = str(known.get("command", "")).removeprefix("maac-bench figure ").partition(" ")[0]
    profile = known.get("configuration", {}).get("profile")
    return (report, str(profile)) if report and profile else None


def caption(provenance: Mapping[str, Any], note: str) -> str:
    """The line under a figure: what `note` says, and the commit of the data."""
    commit, _, remark = str(provenance["commit"]).partition(" ")
    return f"{note} · data from commit {commit[:10]} {remark}".rstrip()


def without_versions(text: str) -> str:
    """The commits of a run, as `training_runs.commits` has them, without what they ran with."""
    return re.sub(rf"{MADE_WITH}.*?(?=, from episode \d+ on |$)", "", text)


def trained_by(text: str, episode: int) -> list[str]:
    """The commits of a run, as `training_runs.commits` has them, up to that episode."""
    first, *later = re.split(r", from episode (\d+) on ", without_versions(text))
    going_on = zip(later[::2], later[1::2], strict=True)
    return [first, *(commit for begin, commit in going_on if int(begin) <= episode)]


def policies(provenance: Mapping[str, Any]) -> str:
    """Which commits trained what a report has measured, in a few words."""
    commits: dict[str, None] = {}
    for text in provenance["runs"].values():
        for commit in re.split(r", from episode \d+ on ", without_versions(text)):
            head, _, remark = commit.partition(" ")
            commits[f"{head[:10]} {remark}".rstrip()] = None
    return f"policies from commit {', '.join(commits)}"


def altered(provenance: Mapping[str, Any], folder: Path) -> list[str]:
    """The tables of a folder that are missing, or not the ones its provenance describes."""
    return [
        name
        for name, digest in provenance.get("tables", {}).items()
        if not (folder / name).exists() or file_digest(folder / name) != digest
    ]


def require_own_tables(folder: Path) -> None:
    """ValueError naming a table that is not the one its folder's provenance describes."""
    for name in altered(load(folder), folder):
        raise ValueError(
            f"{folder / name} is not the table that provenance.json describes: restore both, or "
            "run the report again"
        )
