"""Reading and writing tables: atomically, with checked columns and fixed digits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED_DIGITS = "%.6g"
"""Float format of committed tables: digits that repeat on machines of the same kind."""


def write_csv(table: pd.DataFrame, path: Path, digits: str | None = None) -> None:
    """Write a table so that a half-written file never carries the final name.

    Args:
        table: what to write.
        path: where.
        digits: float format; None keeps every digit.

    Raises:
        OSError: it cannot be written, such as on a full disk; the error names the file.
    """
    staged = stage_csv(table, path, digits)
    try:
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def stage_csv(table: pd.DataFrame, path: Path, digits: str | None = None) -> Path:
    """Write a table beside `path`, from where it only has to be renamed; see `write_csv`."""

    def write(temporary: Path) -> None:
        table.to_csv(temporary, index=False, float_format=digits, lineterminator="\n")

    return stage(write, path)


def stage(write: Callable[[Path], object], path: Path) -> Path:
    """Where `write` has put what will be `path`; nothing stays of what could not be written."""
    temporary = partial_of(path)
    try:
        write(temporary)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    return temporary


def partial_of(path: Path) -> Path:
    """Where this process writes a file before it has its name: several may write the same one."""
    return path.with_name(f"{path.name}.{os.getpid()}.partial")


def as_published(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the digits that its file will have, so that what follows from it repeats."""
    numbers = table.select_dtypes("float").columns
    rounded = {name: table[name].map(lambda x: float(PUBLISHED_DIGITS % x)) for name in numbers}
    return table.assign(**rounded)


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table that has at least these columns; ValueError naming the file otherwise."""
    try:
        table = pd.read_csv(path)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from error
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise ValueError(f"{path} lacks the column {absent[0]!r}")
    return table


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def require_file(path: Path) -> None:
    """Prove that a file can be written under this name: ValueError for a folder, else OSError."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a file in it")
    require_writable(path.parent)


def require_writable(directory: Path) -> None:
    """Create the folder and prove that files can be written there; OSError otherwise."""
    directory.mkdir(parents=True, exist_ok=True)
    # A file without a name, or with one of its own: several processes may ask at once.
    try:
        TemporaryFile(dir=directory).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(directory)) from error
