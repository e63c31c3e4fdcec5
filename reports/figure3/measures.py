"""What Figure 3 measures on fitted models and critics."""

from __future__ import annotations

from itertools import product

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
from maac_bench.model_fitting import ModelReport
from maac_bench.policies import LinearGaussian
from maac_bench.tasks import Task, require_lqg, require_true
from maac_bench.types import Dynamics, Problem, Transition
from reports.figure3.constants import measure_constants
from reports.figure3.settings import GAPS, Profile, Stack


def exact_critics(task: Task, stack: Stack) -> QuadraticCritic:
    """Each pair's own exact Q-function."""
    lqg = require_lqg(task)
    exact = [analytic.evaluate(lqg, K) for K in stack.gains]
    return QuadraticCritic(
        torch.tensor(np.array([e.G for e in exact]), dtype=torch.float32),
        torch.tensor([e.d for e in exact], dtype=torch.float32),
    )


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
