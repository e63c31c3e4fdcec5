"""`maac-bench`: parse, execute, and turn failures into one line and an exit status."""

from __future__ import annotations

import os
import signal
import sys

from maac_bench.threads import wait_briefly


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 on success, 2 for bad input, 1 for a failing system, 130 for Ctrl-C."""
    wait_briefly()
    try:
        # Imported here: Ctrl-C while the libraries load is an interruption like any other.
        from maac_bench.cli.parsing import parse
        from maac_bench.heap import keep_freed_memory

        keep_freed_memory()
        given = sys.argv[1:] if arguments is None else arguments
        # As a path it would be the working directory.
        if any(not word or (word.startswith("--") and word.endswith("=")) for word in given):
            raise ValueError("an argument is empty: a variable that is not set?")
        command = parse(given)
        command.execute()
        sys.stdout.flush()
    except KeyboardInterrupt as interruption:
        return _fail(str(interruption) or "interrupted", 130)
    except (ValueError, FloatingPointError) as error:
        return _fail(str(error), 2)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        reason = error.strerror or str(error)
        return _fail(f"{reason}: {error.filename}" if error.filename else reason, 1)
    except (MemoryError, RuntimeError) as error:
        if not _is_lack_of_memory(error):
            raise
        return _fail(f"not enough memory ({error}): ask for less at a time", 1)
    return 0


def _is_lack_of_memory(error: Exception) -> bool:
    """Whether memory could not be had, for which torch has no class but on a GPU."""
    signs = (
        "DefaultCPUAllocator",
        "out of memory",
        "ALLOC_FAILED",
        "Storage size calculation overflowed",
    )
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)


def run() -> None:
    """The program: `main`, and no Ctrl-C once it is over, which many press twice."""
    status = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)


def _fail(message: str, status: int) -> int:
    print(f"maac-bench: {' '.join(message.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    run()
