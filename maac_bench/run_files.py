"""Files of a run directory: written whole or not at all, and locked."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def write_text(path: Path, text: str) -> None:
    """Write a file so that a half-written one never carries the final name."""
    temporary = path.with_suffix(path.suffix + ".partial")
    try:
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """The same for named tensors."""
    temporary = path.with_suffix(path.suffix + ".partial")
    try:
        save_file(dict(tensors), temporary)
        temporary.chmod(0o666 & ~_umask())  # it is for its owner alone at first
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise OSError(getattr(error, "errno", None) or 5, str(error), str(path)) from error


def _umask() -> int:
    """The process's, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lock(path: Path) -> IO[str]:
    """The directory's lock; ValueError if another process has it.

    It is held by the process, and ends with it, however that ends.
    """
    file = (path / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ValueError(f"{path} is in use by another process") from error
    return file


def read_record(file: Path, *names: str) -> dict[str, Any]:
    """A JSON file that has these entries; ValueError naming it otherwise."""
    try:
        result = json.loads(file.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} is missing or damaged ({error})") from error
    if not isinstance(result, dict):
        raise ValueError(f"{file} is missing or damaged (no named entries)")
    absent = [name for name in names if name not in result]
    if absent:
        raise ValueError(f"{file} is damaged: it has no {absent[0]!r}")
    return result
