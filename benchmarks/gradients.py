"""Gradients per second of every estimator at the sizes of a MuJoCo agent.

State 17, action 6, batch 256, H = 4, policy and twin critics 2x256, ensemble of 8 members 4x200.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.floor import Row, measured
from maac_bench.critics import init_critics
from maac_bench.dynamics import init_ensemble
from maac_bench.estimators import ESTIMATORS, Settings, make_estimator
from maac_bench.nets import Hidden, Normalizer, init_mlp
from maac_bench.policies import SquashedGaussian
from maac_bench.streams import Streams
from maac_bench.types import Problem

STATE, ACTION, BATCH, HORIZON = 17, 6, 256, 4


def agent_problem() -> tuple[Problem, SquashedGaussian]:
    """Untrained nets of an agent's sizes, one seed."""
    streams = Streams([0], "bench")

    def unit(size: int) -> Normalizer:
        return Normalizer(torch.zeros(1, size), torch.ones(1, size))

    def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        return next_state[..., 8] - 0.1 * action.square().sum(dim=-1)

    def terminated(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        return torch.zeros_like(state[..., 0])

    model = init_ensemble(streams, unit(STATE + ACTION), unit(STATE), Hidden((200,) * 4), members=8)
    critics = init_critics(streams, unit(STATE + ACTION), torch.ones(1), Hidden((256, 256), "relu"))
    policy = SquashedGaussian(
        init_mlp(streams, None, STATE, 2 * ACTION, Hidden((256, 256), "relu"))
    )
    return Problem(model, reward, terminated, critics, 0.99), policy


def measure(name: str) -> Row:
    """One estimator's row."""
    problem, policy = agent_problem()
    estimator = make_estimator(name, Settings(horizon=0 if name == "dpg" else HORIZON))
    start = Streams([0], "bench-start").normal(BATCH, STATE)
    noise = estimator.draw(Streams([0], "bench-noise"), problem, policy, start)
    return measured(f"gradient_{name}", lambda: estimator.gradient(problem, policy, start, noise))


def rows() -> list[Row]:
    """Every estimator's."""
    return [measure(name) for name in ESTIMATORS]
