"""One SAC gradient step of stable-baselines3 (PyTorch) and sbx (JAX), same sizes, same machine.

Both are called as their training loops call them: batches drawn from a filled replay buffer,
`gradient_steps` updates a call.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from statistics import median
from typing import Any

from benchmarks.floor import Row

TASK, BATCH, FILL, STEPS, REPEATS = "HalfCheetah-v5", 256, 2000, 50, 7
_MODULES = {"stable-baselines3": "stable_baselines3", "sbx-rl": "sbx", "jax": "jax"}
_NETS = {"net_arch": [256, 256]}


def milliseconds(train: Callable[[], object], steps: int = STEPS) -> float:
    """Median time of one of the `steps` updates that a call makes."""
    train()
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        train()
        times.append((time.perf_counter() - begin) / steps)
    return 1e3 * median(times)


def _row(name: str, algorithm: Any) -> Row:  # noqa: ANN401
    model = algorithm(
        "MlpPolicy", TASK, batch_size=BATCH, learning_starts=FILL + 1, policy_kwargs=_NETS
    )
    model.learn(FILL)
    ms = milliseconds(lambda: model.train(batch_size=BATCH, gradient_steps=STEPS))
    return {"name": name, "ms": ms, "per_second": 1e3 / ms}


def versions() -> dict[str, str]:
    """The peers that are installed, with the library each computes with."""
    return {name: version(name) for name, module in _MODULES.items() if find_spec(module)}


def rows() -> list[Row]:
    """Those of the two that are installed: `pip install maac-bench[peers]`."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import stable_baselines3

            found.append(_row("sb3_sac_step", stable_baselines3.SAC))
        except ImportError as error:
            print(f"stable-baselines3 is left out: {error}")
        try:
            import sbx

            found.append(_row("sbx_sac_step", sbx.SAC))
        except ImportError as error:
            print(f"sbx is left out: {error}")
    return found
