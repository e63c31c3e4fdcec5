"""Gradients per second of every estimator at the sizes of a MuJoCo agent.

One row per estimator: state 17, action 6, batch 256, H = 4, policy and twin critics 2x256,
ensemble of 8 members 4x200. `floor_ms` is the time of the same matrix products alone, measured
in turn with the estimator; `ratio` is the median of ms / floor_ms.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from benchmarks.floor import flops, matrix_products, paired_medians, replay
from maac_bench.critics import init_critics
from maac_bench.dynamics import init_ensemble
from maac_bench.estimators import ESTIMATORS, Settings, make_estimator
from maac_bench.nets import Normalizer, init_mlp
from maac_bench.policies import SquashedGaussian
from maac_bench.streams import Streams
from maac_bench.types import Problem

RESULTS = Path(__file__).parent / "results.csv"
STATE, ACTION, BATCH, HORIZON, REPEATS = 17, 6, 256, 4, 15


def agent_problem() -> tuple[Problem, SquashedGaussian]:
    """Untrained nets of an agent's sizes, one seed."""
    streams = Streams([0], "bench")

    def unit(size: int) -> Normalizer:
        return Normalizer(torch.zeros(1, size), torch.ones(1, size))

    def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        return next_state[..., 8] - 0.1 * action.square().sum(dim=-1)

    def terminated(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        return torch.zeros_like(state[..., 0])

    model = init_ensemble(streams, unit(STATE + ACTION), unit(STATE), hidden=(200,) * 4, members=8)
    critics = init_critics(streams, unit(STATE + ACTION), torch.ones(1), hidden=(256, 256))
    policy = SquashedGaussian(init_mlp(streams, None, (STATE, 256, 256, 2 * ACTION), "relu"))
    return Problem(model, reward, terminated, critics, 0.99), policy


def measure(name: str) -> dict[str, float | str]:
    """One estimator's row."""
    problem, policy = agent_problem()
    estimator = make_estimator(name, Settings(horizon=HORIZON))
    start = Streams([0], "bench-start").normal(BATCH, STATE)
    noise = estimator.draw(Streams([0], "bench-noise"), problem, policy, start)

    def gradient() -> object:
        return estimator.gradient(problem, policy, start, noise)

    shapes = matrix_products(gradient)
    seconds, floor, ratio = paired_medians(gradient, replay(shapes), REPEATS)
    return {
        "name": f"gradient_{name}",
        "ms": 1e3 * seconds,
        "floor_ms": 1e3 * floor,
        "ratio": ratio,
        "per_second": 1.0 / seconds,
        "gflop": flops(shapes) / 1e9,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Measure everything, write the table and print it."""
    rows = []
    for name in ESTIMATORS:
        rows.append(measure(name))
        print(f"{rows[-1]['name']:26s} {rows[-1]['ms']:8.2f} ms, {rows[-1]['ratio']:.2f} x floor")
    pd.DataFrame(rows).to_csv(RESULTS, index=False, float_format="%.4g")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
