"""What Figure 3 runs: fit models and critics on double-integrator data, estimate gradients.

A unit is one regime and one block of seeds; its (seed, gain) pairs are one stacked program. The
expected gradient of every combination of dynamics and critic is the exact one of the true pair
plus a Monte-Carlo difference under common random numbers, which has little variance.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
import torch

from maac_bench.critic_fitting import CriticConfig, fit_critics
from maac_bench.model_fitting import ModelConfig, fit_model
from maac_bench.names import lookup
from maac_bench.policies import LinearGaussian
from maac_bench.rollout import draw_rollout_noise, rollout, transitions
from maac_bench.tasks import Task, make_task, require_lqg, require_true
from maac_bench.types import Problem, Transition
from reports.figure3.measures import (
    exact_critics,
    measure_bounds,
    measure_fits,
    measure_gradients,
)
from reports.figure3.settings import PROFILES, TASK, Profile, Stack, gains_along_ascent
from reports.units import Experiment


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
    return transitions(rollout(problem, explorer, start, noise))
