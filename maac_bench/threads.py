"""How threads of a parallel region wait for each other."""

from __future__ import annotations

import os

# Rounds of the GNU OpenMP library's waiting loop; its own choice is 300 000 where there are as many
# cores as threads, whoever else uses them.
_ROUNDS = "20000"
_POLICIES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def wait_briefly() -> None:
    """Let a thread that waits for others give its core away sooner.

    With fewer idle cores than threads those that wait take the core from those they wait for. The
    library reads this when PyTorch loads it, so call it before; what the user has set stays.
    """
    if not any(policy in os.environ for policy in _POLICIES):
        os.environ["GOMP_SPINCOUNT"] = _ROUNDS
