"""Memory that a program gives back and takes again in every update."""

from __future__ import annotations

import ctypes
import sys

# malloc.h of the GNU C library.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_INT = 2**31 - 1
# Before version 2.35 of the library no more is accepted; larger blocks are handed back as ever.
_LARGEST_ONCE = 2**25


def keep_freed_memory() -> None:
    """Let malloc keep what is freed, up to 2 GB, instead of handing it back to the system.

    Every page that is handed back and wanted again costs a page fault, and what an update or a
    gradient needs at once can be hundreds of megabytes. For the whole process, from now on; a C
    library other than GNU's is left alone.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    # Setting the second alone would keep the first where it begins, at 128 KB.
    if mallopt(_M_MMAP_THRESHOLD, _LARGEST_INT) or mallopt(_M_MMAP_THRESHOLD, _LARGEST_ONCE):
        mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)
