"""One SAC update beside stable-baselines3's (PyTorch) and sbx's (JAX): same sizes, same machine.

All are called as a training loop calls them, in turn: `STEPS` updates in a row on batches from a
filled replay buffer, which all of them but stable-baselines3 draw together.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from statistics import median
from typing import Any

from benchmarks.floor import Row
from benchmarks.steps import ready_trainer
from maac_bench.products import fast_products

TASK, BATCH, FILL, STEPS, REPEATS = "HalfCheetah-v5", 256, 2000, 50, 11
_MODULES = {"stable-baselines3": "stable_baselines3", "sbx-rl": "sbx", "jax": "jax"}
_NETS = {"net_arch": [256, 256]}


def versions() -> dict[str, str]:
    """The peers that are installed, with the library each computes with."""
    return {name: version(name) for name, module in _MODULES.items() if find_spec(module)}


def rows() -> list[Row]:
    """Ours and those of the two that are installed: `pip install maac-bench[peers]`."""
    trainer = ready_trainer("sac", 1, compiled=True)

    def ours() -> None:
        with fast_products():  # as training does; the peers do not
            for _ in trainer.learn(STEPS):
                pass

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        contestants = {"sac_step_in_a_row": ours, **dict(_peers())}
        times = _in_turn(contestants)
    return [{"name": name, "ms": ms, "per_second": 1e3 / ms} for name, ms in times.items()]


def _peers() -> Iterator[tuple[str, Callable[[], object]]]:
    try:
        import stable_baselines3

        yield "sb3_sac_step", _training(stable_baselines3.SAC)
    except ImportError as error:
        print(f"stable-baselines3 is left out: {error}")
    try:
        import sbx

        yield "sbx_sac_step", _training(sbx.SAC)
    except ImportError as error:
        print(f"sbx is left out: {error}")


def _training(algorithm: Any) -> Callable[[], object]:  # noqa: ANN401
    """A call of `STEPS` updates."""
    model = algorithm(
        "MlpPolicy", TASK, batch_size=BATCH, learning_starts=FILL + 1, policy_kwargs=_NETS
    )
    model.learn(FILL)
    return lambda: model.train(batch_size=BATCH, gradient_steps=STEPS)


def _in_turn(contestants: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of one of the `STEPS` updates that a call makes."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for repeat in range(REPEATS + 1):
        for name, train in contestants.items():
            begin = time.perf_counter()
            train()
            if repeat:  # the first call compiles
                times[name].append((time.perf_counter() - begin) / STEPS)
    return {name: 1e3 * median(found) for name, found in times.items()}
