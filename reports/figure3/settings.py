"""The sizes of Figure 3's experiment, and the gains and seeds it stacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

import analytic
from analytic.lqg import Array
from maac_bench.critic_fitting import CriticConfig
from maac_bench.model_fitting import ModelConfig
from maac_bench.streams import Streams

TASK = "maac_bench/DoubleIntegrator-v0"
# The ascent starts at a weak but stable gain; gains are where this share of the initial gap to
# the optimal return is left.
START_GAIN = ((0.1, 0.2),)
GAPS = {"poor": 1.0, "middling": 0.2, "near-optimal": 0.02}


@dataclass(frozen=True)
class Regime:
    """How much data the model and the critics see, and with which nets they are fitted."""

    transitions: int
    layer_norm: bool = False


@dataclass(frozen=True)
class Profile:
    """The size of the experiment."""

    seeds: int
    horizons: tuple[int, ...]
    model: ModelConfig
    critic: CriticConfig
    samples: int = 128
    """rollouts per expected gradient; start states are stratified"""
    chunk: int = 64
    """rollouts in memory at a time"""
    seeds_per_unit: int = 5
    episode: int = 50
    """steps per data-collection episode"""
    exploration_std: float = 0.5
    """action noise while collecting data, in place of the policy's own"""
    bound_horizon: int = 32
    """largest H for which Lemma 4.1 is evaluated; far beyond, it only grows"""
    regimes: dict[str, Regime] = field(
        default_factory=lambda: {
            "few": Regime(200),
            "many": Regime(4000),
            "few-layernorm": Regime(200, layer_norm=True),
        }
    )


PROFILES = {
    "quick": Profile(
        seeds=10,
        horizons=(0, 1, 2, 4, 8, 16, 32, 64, 128, 192, 256),
        model=ModelConfig(members=5, hidden=(32, 32)),
        critic=CriticConfig(
            hidden=(32, 32),
            target="mean",
            learning_rate=3e-3,
            steps=1500,
            batch_size=128,
            target_rate=0.1,
        ),
    ),
    "paper": Profile(
        seeds=20,
        horizons=(0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256),
        model=ModelConfig(members=8, hidden=(64, 64)),
        critic=CriticConfig(
            hidden=(64, 64),
            target="mean",
            learning_rate=3e-3,
            steps=3000,
            batch_size=128,
            target_rate=0.1,
        ),
    ),
}


class Stack(NamedTuple):
    """The (seed, gain) pairs of one unit, flattened into one stack axis."""

    seeds: tuple[int, ...]
    gain_names: tuple[str, ...]
    gains: Array  # [stack, m, n]

    def streams(self, purpose: str) -> Streams:
        """A stream per pair; a seed's gains have their own."""
        names = list(GAPS)
        pairs = zip(self.seeds, self.gain_names, strict=True)
        return Streams([(seed, names.index(gain)) for seed, gain in pairs], purpose)


def gains_along_ascent(lqg: analytic.LQG, step: float = 0.005) -> dict[str, Array]:
    """Gains on the path of normalised exact gradient ascent, by name in `GAPS`."""
    best = analytic.evaluate(lqg, analytic.optimal_gain(lqg)).J
    K = np.array(START_GAIN)
    initial_gap = best - analytic.evaluate(lqg, K).J
    gains = {}
    for name, gap in GAPS.items():
        while best - analytic.evaluate(lqg, K).J > gap * initial_gap:
            gradient = analytic.policy_gradient(lqg, K)
            K = K + step * gradient / np.linalg.norm(gradient)
        gains[name] = K.copy()
    return gains
