"""How the commands of this package end; imports nothing, so that Ctrl-C is caught while they do."""

from __future__ import annotations

import sys
from collections.abc import Callable


def exit_status(name: str, work: Callable[[], object]) -> int:
    """Do the work: 0 on success, 2 for bad data, 1 for a failing system, 130 for Ctrl-C.

    Anything but success is one line, which begins with the command's name.
    """
    try:
        work()
    except KeyboardInterrupt:
        return _fail(f"{name}: interrupted", 130)
    except ValueError as error:
        return _fail(f"{name}: {error}", 2)
    except OSError as error:
        return _fail(f"{name}: {error}", 1)
    return 0


def _fail(message: str, status: int) -> int:
    print(" ".join(message.split()), file=sys.stderr)
    return status
