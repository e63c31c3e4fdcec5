"""Looking things up by name, with an error that names the choices."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_OURS = tuple(
    f"{Path(__file__).parent.with_name(name)}{os.sep}"
    for name in ("analytic", "maac_bench", "reports")
)


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """`table[name]`; ValueError listing the valid names otherwise, and which may be meant."""
    if name not in table:
        raise ValueError(
            f"unknown {kind} {name!r}; choose from {', '.join(table)}{_near(name, table)}"
        )
    return table[name]


def _near(name: str, known: Iterable[str]) -> str:
    """A question, where one of the known names is like this one."""
    alike = get_close_matches(name, known, n=1, cutoff=0.7)
    return f"; did you mean {alike[0]}?" if alike else ""


def make(
    kind: str, name: str, table: Mapping[str, Callable[..., T]], result: type, *given: object
) -> T:
    """What the row of that name makes of `given`.

    A name may be the user's own, `module:Name`: its module adds the row to `table`.

    Args:
        kind: of thing, for messages.
        name: the row's.
        table: by name, what makes the thing.
        result: the thing's type, which a row of the user's is held to.
        given: arguments.

    Raises:
        ValueError: no such row; or the user's module or row fails, or makes something else.
    """
    if ":" not in name:
        return lookup(kind, name, table)(*given)
    if not name.rpartition(":")[0]:
        raise ValueError(f"{kind} {name!r} names no module before its colon")
    with speaking(f"{kind} {name!r} cannot be made: its module"):
        import_module_of(name)
    if name not in table:
        raise ValueError(
            f"unknown {kind} {name!r}: {module_file(name)} adds no such row; choose from "
            f"{', '.join(table)}{_near(name, table)}"
        )
    with speaking(f"{kind} {name!r} cannot be made: its row"):
        found = table[name](*given)
        fits = isinstance(found, result)  # looks at properties, if there are any
    if not fits:
        raise ValueError(
            f"the row of {kind} {name!r} gives something else than {result.__module__}."
            f"{result.__name__} describes: {type(found).__name__}"
        )
    return found


@contextmanager
def speaking(who: str) -> Iterator[None]:
    """Whatever the user's code raises, in one line, and where."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ValueError(f"{who} raises {described(error)}") from error


def described(error: BaseException) -> str:
    """An error of the user's own code, and the innermost place in it, if it is not installed."""
    others = (*_OURS, sysconfig.get_path("stdlib"), "<")
    places = [
        place
        for place in traceback.extract_tb(error.__traceback__)
        if not place.filename.startswith(others)
        and "site-packages" not in place.filename
        and "dist-packages" not in place.filename
    ]
    where = f" ({Path(places[-1].filename).name}, line {places[-1].lineno})" if places else ""
    return f"{type(error).__name__}: {error}{where}"


def import_module_of(name: str) -> None:
    """Import what stands before a name's colon, from the working directory or any other place."""
    module = name.rpartition(":")[0]
    if module:
        here = str(Path.cwd())
        if here not in sys.path:  # as `python -m` has it, and the installed command has not
            sys.path.insert(0, here)
        importlib.import_module(module)


def module_file(name: str) -> str:
    """Where the imported module before a name's colon is from."""
    name = name.rpartition(":")[0]
    module = sys.modules.get(name)
    file, folders = getattr(module, "__file__", None), list(getattr(module, "__path__", ()))
    return file or (f"the folder {folders[0]}" if folders else f"the built-in module {name}")


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
