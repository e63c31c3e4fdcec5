"""What Figure 3 runs: fit models and critics on double-integrator data, estimate gradients.

A unit is one regime and one block of seeds; its (seed, gain) pairs are one stacked program. The
expected gradient of every combination of dynamics and critic is the exact one of the true pair
plus a Monte-Carlo difference under common random numbers, which has little variance.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import norm, qmc
from torch import Tensor

import analytic
from analytic import bounds
from analytic.lqg import Array, matrix_root
from maac_bench.critics import NeuralCritics, QuadraticCritic
from maac_bench.estimators import Settings, make_estimator
from maac_bench.estimators.base import per_sample_policy
from maac_bench.fitting import (
    CriticConfig,
    ModelConfig,
    ModelReport,
    fit_critics,
    fit_model,
)
from maac_bench.names import lookup
from maac_bench.policies import LinearGaussian
from maac_bench.rollout import draw_rollout_noise, rollout, transitions
from maac_bench.streams import Streams
from maac_bench.tasks import Task, make_task, require_lqg, require_true
from maac_bench.types import Dynamics, Problem, Transition
from reports.figure3.constants import measure_constants
from reports.units import Experiment

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


def experiment(profile_name: str) -> Experiment:
    """The units of a profile; ValueError naming the valid profiles."""
    profile = lookup("profile", profile_name, PROFILES)
    units = {}
    for name in profile.regimes:
        for first in range(0, profile.seeds, profile.seeds_per_unit):
            seeds = tuple(range(first, min(first + profile.seeds_per_unit, profile.seeds)))
            unit = partial(run_unit, profile, name, seeds)
            units[f"{name}-seeds-{seeds[0]}-{seeds[-1]}"] = unit
    return Experiment("figure3", units, {"profile": profile_name, "task": TASK, **asdict(profile)})


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


def run_unit(profile: Profile, regime_name: str, seeds: tuple[int, ...]) -> pd.DataFrame:
    """Fit and measure one regime for a block of seeds.

    Returns:
        One row per (seed, gain, horizon, dynamics, critic): the expected gradient's entries
        `gradient_i`, their Monte-Carlo standard errors `error_i`, the per-sample standard
        deviations `spread_i`, Lemma 4.1's bounds for the learned pair (empty beyond
        `bound_horizon`), and how good the fits are (`fit_...`, the same for all rows of a pair).
    """
    task = make_task(TASK)
    lqg = require_lqg(task)
    gains = gains_along_ascent(lqg)
    pairs = list(product(seeds, gains))
    stack = Stack(
        tuple(seed for seed, _ in pairs),
        tuple(gain for _, gain in pairs),
        np.array([gains[gain] for _, gain in pairs]),
    )
    regime = profile.regimes[regime_name]
    action_std = float(np.sqrt(lqg.action_cov[0, 0]))
    policy = LinearGaussian(
        torch.tensor(stack.gains, dtype=torch.float32), torch.tensor([[action_std]])
    )
    data = collect(task, policy, stack, regime.transitions, profile)
    nets = {"layer_norm": regime.layer_norm}
    model_config = ModelConfig(**{**asdict(profile.model), **nets})
    critic_config = CriticConfig(**{**asdict(profile.critic), **nets})
    model, report = fit_model(data, model_config, stack.streams)
    critics = fit_critics(data, policy, task.discount, critic_config, stack.streams)
    learned = Problem(model, task.reward, task.terminated, critics, task.discount)
    table = measure_gradients(task, learned, policy, stack, profile)
    limits = measure_bounds(task, learned, policy, stack, profile)
    table = table.merge(limits, "left", on=["seed", "gain", "horizon"], validate="many_to_one")
    fits = measure_fits(task, report, critics, data, stack)
    table = table.merge(fits, on=["seed", "gain"], validate="many_to_one")
    table.insert(0, "regime", regime_name)
    return table


def collect(
    task: Task, policy: LinearGaussian, stack: Stack, count: int, profile: Profile
) -> Transition:
    """`count` transitions per pair: episodes from p0 under the policy's mean and exploration noise.

    `count` is a multiple of the episode's length.
    """
    episodes, remainder = divmod(count, profile.episode)
    if remainder:
        raise ValueError(f"{count} transitions are not whole episodes of {profile.episode}")
    explorer = LinearGaussian(policy.gain, profile.exploration_std * torch.eye(task.action_size))
    true = require_true(task)
    problem = Problem(
        true.dynamics, task.reward, task.terminated, exact_critics(task, stack), task.discount
    )
    start = true.start(stack.streams("data-start"), episodes)
    noise = draw_rollout_noise(
        stack.streams("data-noise"),
        true.dynamics,
        profile.episode,
        (episodes,),
        task.state_size,
        task.action_size,
    )
    return transitions(problem, rollout(problem, explorer, start, noise))


def stratified_starts(lqg: analytic.LQG, stack: Stack, count: int, repeat: int) -> Tensor:
    """`count` start states per pair from N(0, M0), evenly spread: scrambled Sobol points.

    Each repeat is an independent scramble, so means over them are unbiased; standard errors that
    take the samples for independent are too large.
    """
    states = []
    for seed, gain in zip(stack.seeds, stack.gain_names, strict=True):
        rng = np.random.default_rng([seed, list(GAPS).index(gain), repeat])
        points = qmc.Sobol(lqg.n, scramble=True, rng=rng).random(count)
        states.append(norm.ppf(points) @ matrix_root(lqg.M0))
    return torch.tensor(np.array(states), dtype=torch.get_default_dtype())


def measure_fits(
    task: Task, report: ModelReport, critics: NeuralCritics, data: Transition, stack: Stack
) -> pd.DataFrame:
    """How good model and critics are on their data, one row per pair.

    fit_model_nll (nats per feature) and fit_model_mse (share of the change's variance): means over
    members on held-out data. fit_model_epochs: mean over members. fit_critic_ratio: mean fitted
    value over mean exact value. fit_critic_slope: relative L2 error of the value's derivative in
    the action.
    """
    slopes, means = [], []
    action = data.action.clone().requires_grad_()
    for critic in (critics, exact_critics(task, stack)):
        value = critic(data.state, action).mean(dim=0)
        slopes.append(torch.autograd.grad(value.sum(), action)[0])
        means.append(value.detach().mean(dim=1))
    error, size = ((x.square().sum(dim=(1, 2)).sqrt()) for x in (slopes[0] - slopes[1], slopes[1]))
    columns = {
        "fit_model_nll": report.validation_nll.mean(dim=1),
        "fit_model_mse": report.validation_mse.mean(dim=1),
        "fit_model_epochs": report.epochs.double().mean(dim=1),
        "fit_critic_ratio": means[0] / means[1],
        "fit_critic_slope": error / size,
    }
    table = pd.DataFrame({"seed": stack.seeds, "gain": stack.gain_names})
    return table.assign(**{name: values.double().numpy() for name, values in columns.items()})


def exact_critics(task: Task, stack: Stack) -> QuadraticCritic:
    """Each pair's own exact Q-function."""
    lqg = require_lqg(task)
    exact = [analytic.evaluate(lqg, K) for K in stack.gains]
    return QuadraticCritic(
        torch.tensor(np.array([e.G for e in exact]), dtype=torch.float32),
        torch.tensor([e.d for e in exact], dtype=torch.float32),
    )


def measure_gradients(
    task: Task, learned: Problem, policy: LinearGaussian, stack: Stack, profile: Profile
) -> pd.DataFrame:
    """Expected pathwise gradients for every horizon and every combination of learned parts."""
    lqg, true = require_lqg(task), require_true(task)
    dynamics: dict[str, Dynamics] = {"true": true.dynamics, "learned": learned.dynamics}
    critics = {"exact": exact_critics(task, stack), "learned": learned.critic}
    noise_streams = stack.streams("gradient-noise")
    starts = [
        stratified_starts(lqg, stack, profile.chunk, repeat)
        for repeat in range(profile.samples // profile.chunk)
    ]
    copies = per_sample_policy(policy, profile.chunk)
    tables = []
    for horizon in profile.horizons:
        estimator = make_estimator("pathwise", Settings(horizon=horizon))
        chunks: dict[tuple[str, str], list[Array]] = {k: [] for k in product(dynamics, critics)}
        for start in starts:
            noise = estimator.draw(noise_streams, learned, policy, start)
            for (model, critic), estimates in chunks.items():
                problem = learned._replace(dynamics=dynamics[model], critic=critics[critic])
                (gradient,) = estimator.gradient(problem, copies, start, noise)
                estimates.append(gradient.double().numpy())
        samples = {pair: np.concatenate(arrays, axis=1) for pair, arrays in chunks.items()}
        exact = np.array([analytic.maac_gradient(lqg, K, horizon) for K in stack.gains])
        for (model, critic), values in samples.items():
            # Common random numbers: only the difference from the exactly known pair is sampled.
            difference = values - samples["true", "exact"]
            frame = pd.DataFrame({"seed": stack.seeds, "gain": stack.gain_names})
            frame["horizon"], frame["dynamics"], frame["critic"] = horizon, model, critic
            columns = {
                "gradient": exact + difference.mean(axis=1),
                "error": difference.std(axis=1, ddof=1) / np.sqrt(profile.samples),
                "spread": values.std(axis=1, ddof=1),
            }
            for name, entries in columns.items():
                for index, column in enumerate(entries.reshape(len(stack.seeds), -1).T):
                    frame[f"{name}_{index}"] = column
            tables.append(frame)
    return pd.concat(tables, ignore_index=True)


def measure_bounds(
    task: Task, learned: Problem, policy: LinearGaussian, stack: Stack, profile: Profile
) -> pd.DataFrame:
    """Lemma 4.1, printed and corrected, with constants measured on the learned pair."""
    true = learned._replace(dynamics=require_true(task).dynamics, critic=exact_critics(task, stack))
    horizons = [H for H in profile.horizons if profile.bound_horizon >= H]
    measured = measure_constants(task, true, learned, policy, stack.streams, horizons)
    rows = []
    for horizon, constants in measured.items():
        for seed, gain, values in zip(stack.seeds, stack.gain_names, constants, strict=True):
            limits = {
                f"bound_{form}": bounds.lemma_4_1(values, horizon, task.discount, form)
                for form in ("printed", "corrected")
            }
            rows.append({"seed": seed, "gain": gain, "horizon": horizon, **limits})
    return pd.DataFrame(rows)
