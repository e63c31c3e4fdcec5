"""MuJoCo's warnings as lines on standard error, but for one that says nothing to a user."""

from __future__ import annotations

import sys

import mujoco  # type: ignore[import-untyped]

# Gymnasium's HalfCheetah file uses it; every environment that is made would say so.
_KNOWN = "compiler attribute 'settotalmass' is deprecated"


def show_warning(message: str) -> None:
    """Print a warning in one line, unless it is the known one."""
    if not message.startswith(_KNOWN):
        print(f"MuJoCo: {' '.join(message.split())}", file=sys.stderr)


def install() -> None:
    """Take the place of MuJoCo's own handler, which also leaves a log file in the folder."""
    mujoco.set_mju_user_warning(show_warning)
