"""Looking things up by name, with an error that names the choices."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """`table[name]`; ValueError listing the valid names otherwise."""
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}; choose from {', '.join(table)}")
    return table[name]


def lookup_own(kind: str, name: str, table: Mapping[str, T]) -> T:
    """The same where a name may be the user's own, `module:Name`: the module adds it to `table`.

    Raises:
        ValueError: the name is not in the table then, or its module cannot be imported.
    """
    try:
        import_module_of(name)
    except Exception as error:  # whatever the user's module raises
        raise ValueError(
            f"{kind} {name!r} cannot be made: its module raises {type(error).__name__}: {error}"
        ) from error
    return lookup(kind, name, table)


def import_module_of(name: str) -> None:
    """Import what stands before a name's colon, from the working directory or any other place."""
    module = name.rpartition(":")[0]
    if module:
        here = str(Path.cwd())
        if here not in sys.path:  # as `python -m` has it, and the installed command has not
            sys.path.insert(0, here)
        importlib.import_module(module)


def module_digests(*names: str) -> dict[str, str]:
    """SHA-256 of the files behind names of the user's own, whose modules are imported; by module.

    What these modules import in turn is not in it.
    """
    modules = {name.rpartition(":")[0] for name in names} - {""}
    files = {module: getattr(sys.modules.get(module), "__file__", None) for module in modules}
    return {
        module: hashlib.sha256(Path(file).read_bytes()).hexdigest()
        for module, file in sorted(files.items())
        if file
    }
