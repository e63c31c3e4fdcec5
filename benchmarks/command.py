"""How a benchmark is started: its help costs nothing, and what goes wrong is one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from reports.command import exit_status


def run(
    target: str, description: str, work: Callable[[], object], arguments: Sequence[str] | None
) -> int:
    """Do the work of `make TARGET`, which has no options; the exit status, see `exit_status`."""
    argparse.ArgumentParser(prog=f"make {target}", description=description).parse_args(arguments)
    return exit_status(f"make {target}", work)
