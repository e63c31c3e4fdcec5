"""Algorithms by name: each a point in the configuration space.

Sizes and rates are those of the authors' code where the paper is silent; every difference is an
entry of docs/deviations.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

from maac_bench.config import ActorSettings, Config, CriticSettings, DataSettings
from maac_bench.model_fitting import ModelConfig
from maac_bench.names import lookup

_ENSEMBLE = ModelConfig(members=8, hidden=(200, 200, 200, 200), min_improvement=1e-3)


def _maac() -> Config:
    """The paper's algorithm, with normalised hidden layers in model and critics."""
    return Config(
        actor=ActorSettings(horizon=4, terminal_samples=5, entropy="path"),
        critic=CriticSettings(target="steve", target_horizon=2, layer_norm=True),
        model=replace(_ENSEMBLE, layer_norm=True),
    )


def _maac_authors() -> Config:
    """The authors' form: plain nets, entropy of the first action, nearly noise-free rollouts."""
    return Config(
        actor=ActorSettings(horizon=4, terminal_samples=5, entropy="first"),
        critic=CriticSettings(target="steve", target_horizon=2),
        model=replace(_ENSEMBLE, noisy=False),
        data=DataSettings(model_capacity=2_000_000),
    )


def _with_actor(horizon: int | None = None, samples: int | None = None) -> Config:
    base = _maac()
    actor = base.actor
    return replace(
        base,
        actor=replace(
            actor,
            horizon=actor.horizon if horizon is None else horizon,
            terminal_samples=actor.terminal_samples if samples is None else samples,
        ),
    )


def _maac_no_steve() -> Config:
    base = _maac()
    return replace(base, critic=replace(base.critic, target="td"))


def _maac_plus() -> Config:
    """MAAC with what later work found to help: longer branches that follow the policy."""
    base = _maac()
    data = replace(base.data, branch_length=(5, 20), branch_ramp=(10, 30))
    return replace(base, data=data)


def _sac() -> Config:
    """Soft actor-critic (Haarnoja et al. 2018b): one update per step from real data."""
    return Config(
        actor=ActorSettings(horizon=0, terminal_samples=1),
        critic=CriticSettings(target="td"),
        data=DataSettings(updates_per_step=1, model_share=0.0),
    )


def _mbpo() -> Config:
    """Model-based policy optimisation (Janner et al. 2019): SAC on branched model rollouts."""
    return Config(
        actor=ActorSettings(horizon=0, terminal_samples=1),
        critic=CriticSettings(target="td"),
        model=replace(_ENSEMBLE, members=7),
        data=DataSettings(updates_per_step=20, model_share=0.95, refit_every=250),
    )


def _steve() -> Config:
    """SAC with stochastic-ensemble value expansion (Buckman et al. 2018) on real data."""
    return Config(
        actor=ActorSettings(horizon=0, terminal_samples=1),
        critic=CriticSettings(target="steve", target_horizon=3),
        model=_ENSEMBLE,
        data=DataSettings(updates_per_step=8, model_share=0.0),
    )


ALGORITHMS: dict[str, Callable[[], Config]] = {
    "sac": _sac,
    "mbpo": _mbpo,
    "steve": _steve,
    "maac": _maac,
    "maac-h0": lambda: _with_actor(horizon=0),
    "maac-no-steve": _maac_no_steve,
    "maac-single-sample": lambda: _with_actor(samples=1),
    "maac-authors": _maac_authors,
    "maac-plus": _maac_plus,
}

# The authors' choices that depend on the task.
_SHORTER_HORIZON = {"maac_bench/Walker2d-v0": 2, "Walker2d-v5": 2}
_LONGER_BRANCHES = {
    "maac_bench/Hopper-v0": (1, 15),
    "Hopper-v5": (1, 15),
    "maac_bench/Ant-v0": (1, 25),
    "Ant-v5": (1, 25),
}


Size: TypeAlias = Literal["paper", "small"]


def preset(algorithm: str, task: str, size: Size = "paper") -> Config:
    """The configuration of a named algorithm on a task.

    Args:
        algorithm: see `ALGORITHMS`.
        task: its identifier; a few settings depend on it.
        size: nets, batches and updates per step as in the paper's code, or small ones that a few
            CPU cores train in an hour. It changes no part of the algorithm.

    Raises:
        ValueError: an unknown algorithm; the message names the known ones.
    """
    config = lookup("algorithm", algorithm, ALGORITHMS)()
    lookup("size", size, dict.fromkeys(get_args(Size)))
    config = _for_task(config, algorithm, task)
    return config if size == "paper" else _small(config)


def _small(config: Config) -> Config:
    """The same algorithm with smaller nets and batches and half the updates."""
    data, actor = config.data, config.actor
    critic = replace(config.critic, hidden=(128, 128))
    return replace(
        config,
        actor=replace(actor, hidden=(128, 128), terminal_samples=min(2, actor.terminal_samples)),
        critic=replace(critic, target_members=0 if critic.target == "td" else 3),
        model=replace(config.model, members=5, hidden=(128, 128, 128)),
        data=replace(
            data,
            batch_size=128,
            updates_per_step=max(1, data.updates_per_step // 2),
            branch_transitions=20_000,
            model_capacity=80_000,
        ),
    )


def _for_task(config: Config, algorithm: str, task: str) -> Config:
    if not algorithm.startswith("maac"):
        return config
    actor, data = config.actor, config.data
    if task in _SHORTER_HORIZON:
        actor = replace(actor, horizon=min(actor.horizon, _SHORTER_HORIZON[task]))
    if task in _LONGER_BRANCHES and data.branch_length == (1, 1):
        data = replace(data, branch_length=_LONGER_BRANCHES[task])
    return replace(config, actor=actor, data=data)
