"""Algorithms by name: each a point in the configuration space.

Sizes and rates are those of the authors' code where the paper is silent; every difference is an
entry of docs/deviations.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from maac_bench.config import (
    ActorSettings,
    Config,
    CriticSettings,
    DataSettings,
    from_dict,
    to_dict,
)
from maac_bench.model_fitting import ModelConfig
from maac_bench.names import make
from maac_bench.sizes import Size, resized

_ENSEMBLE = ModelConfig(members=8, hidden=(200, 200, 200, 200), min_improvement=1e-3)


def _maac() -> Config:
    """The paper's algorithm, with normalised hidden layers in model and critics."""
    return Config(
        actor=ActorSettings(horizon=4, terminal_samples=5, entropy="path"),
        critic=CriticSettings(target="steve", target_horizon=2, layer_norm=True),
        model=replace(_ENSEMBLE, layer_norm=True),
    )


def _maac_authors() -> Config:
    """The authors' form: plain nets, entropy of the first action, rollouts without noise."""
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


def _maac_plain_critic() -> Config:
    """MAAC without normalisation in the critics; the model keeps its own."""
    base = _maac()
    return replace(base, critic=replace(base.critic, layer_norm=False))


def _maac_plain_model() -> Config:
    """MAAC without normalisation in the model; the critics keep their own."""
    base = _maac()
    return replace(base, model=replace(base.model, layer_norm=False))


def _maac_plain() -> Config:
    """MAAC without any normalisation."""
    return replace(_maac_plain_model(), critic=_maac_plain_critic().critic)


def _maac_first_entropy() -> Config:
    """MAAC that rewards the entropy of the first action alone, as the authors' code does."""
    base = _maac()
    return replace(base, actor=replace(base.actor, entropy="first"))


def _maac_plus() -> Config:
    """MAAC with three parts of Kubo et al. (2025), where H > 0 pays.

    Branches long enough for D_model to hold states of the policy itself, critics that are trained
    along the actor's rollout, and values bounded by the rewards seen.
    """
    base = _maac()
    return replace(
        base,
        data=replace(base.data, branch_length=(5, 20), branch_ramp=(10, 30)),
        critic=replace(base.critic, target="path", bounded=True),
    )


def _maac_plus_short_branches() -> Config:
    """The same with MAAC's branches."""
    return replace(_maac_plus(), data=_maac().data)


def _maac_plus_steve() -> Config:
    """The same with MAAC's critic targets, on the batch's own transitions."""
    base = _maac_plus()
    return replace(base, critic=replace(base.critic, target="steve"))


def _maac_plus_unbounded() -> Config:
    """The same with nothing clipped."""
    base = _maac_plus()
    return replace(base, critic=replace(base.critic, bounded=False))


def _with_scaled_critic(base: Config) -> Config:
    """The same with critics whose outputs are in units of 100 rewards.

    At a discount of 0.99 that is the value of a reward of 1 in every step. Adam takes steps of a
    given size whatever the output means. Kubo et al. (2025) scale theirs by a learned interval.
    """
    return replace(base, critic=replace(base.critic, unit=100.0))


def _with_sqrt_critic(base: Config) -> Config:
    """The same with critics that put out, and are fitted to, signed square roots of values.

    The larger a value, the further a step of Adam moves it (Pohlen et al. 2018).
    """
    return replace(base, critic=replace(base.critic, transform="sqrt"))


def _with_more_updates(base: Config) -> Config:
    """The same with twice the updates per environment step."""
    data = replace(base.data, updates_per_step=2 * base.data.updates_per_step)
    return replace(base, data=data)


def _with_short_fits(base: Config) -> Config:
    """The same with a bound on what a fit of the model costs, whatever the run's age."""
    return replace(base, data=replace(base.data, refit_steps=1600))


def _with_all_members(base: Config) -> Config:
    """The same with every member in the targets, in whatever size, said as a number."""
    return replace(base, critic=replace(base.critic, target_members=base.model.members))


def _with_precision(base: Config, precision: str) -> Config:
    """The same with products between hidden layers of that precision, in every net."""
    return replace(
        base,
        actor=replace(base.actor, precision=precision),
        critic=replace(base.critic, precision=precision),
        model=replace(base.model, precision=precision),
    )


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
        model=replace(_ENSEMBLE, members=7, elites=5),
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


_FORMS: dict[str, Callable[[], Config]] = {
    "sac": _sac,
    "mbpo": _mbpo,
    "steve": _steve,
    "maac": _maac,
    "maac-h0": lambda: _with_actor(horizon=0),
    "maac-no-steve": _maac_no_steve,
    "maac-single-sample": lambda: _with_actor(samples=1),
    "maac-plain-critic": _maac_plain_critic,
    "maac-plain-model": _maac_plain_model,
    "maac-plain": _maac_plain,
    "maac-first-entropy": _maac_first_entropy,
    "maac-authors": _maac_authors,
    "maac-plus": _maac_plus,
    "maac-plus-short-branches": _maac_plus_short_branches,
    "maac-plus-steve": _maac_plus_steve,
    "maac-plus-unbounded": _maac_plus_unbounded,
    "maac-scaled-critic": lambda: _with_scaled_critic(_maac()),
    "maac-h0-scaled-critic": lambda: _with_scaled_critic(_with_actor(horizon=0)),
    "maac-plus-scaled-critic": lambda: _with_scaled_critic(_maac_plus()),
    "mbpo-scaled-critic": lambda: _with_scaled_critic(_mbpo()),
    "steve-scaled-critic": lambda: _with_scaled_critic(_steve()),
    "sac-scaled-critic": lambda: _with_scaled_critic(_sac()),
    "maac-sqrt-critic": lambda: _with_sqrt_critic(_maac()),
    "maac-h0-sqrt-critic": lambda: _with_sqrt_critic(_with_actor(horizon=0)),
    "maac-more-updates": lambda: _with_more_updates(_maac()),
    "maac-scaled-critic-more-updates": lambda: _with_more_updates(_with_scaled_critic(_maac())),
    "maac-short-fits": lambda: _with_short_fits(_maac()),
    "maac-all-members": lambda: _with_all_members(_maac()),
    "maac-bfloat16": lambda: _with_precision(_maac(), "bfloat16"),
    "maac-scaled-critic-tf32": lambda: _with_precision(_with_scaled_critic(_maac()), "tf32"),
}

# Choices that depend on the task: the MAAC authors', and Janner et al. 2019, Table 1 (App. C).
_SHORTER_HORIZON = {"maac_bench/Walker2d-v0": 2, "Walker2d-v5": 2}
_LONGER_BRANCHES = {
    "maac_bench/Hopper-v0": (1, 15),
    "Hopper-v5": (1, 15),
    "maac_bench/Ant-v0": (1, 25),
    "Ant-v5": (1, 25),
}
_MBPO_UPDATES = {"maac_bench/HalfCheetah-v0": 40, "HalfCheetah-v5": 40}


def _made(algorithm: str, task: str, size: Size) -> Config:
    """One of the package's own algorithms, as its authors have it on the task."""
    config = _FORMS[algorithm]()
    if algorithm.startswith("maac"):
        config = _with_shorter_horizon(config, task)
    if algorithm.startswith("mbpo") and task in _MBPO_UPDATES:
        data = replace(config.data, updates_per_step=_MBPO_UPDATES[task])
        config = replace(config, data=data)
    if algorithm.startswith(("mbpo", "maac")):
        config = _with_longer_branches(config, task)
    return resized(config, size)


def _with_shorter_horizon(config: Config, task: str) -> Config:
    horizon = min(config.actor.horizon, _SHORTER_HORIZON.get(task, config.actor.horizon))
    return replace(config, actor=replace(config.actor, horizon=horizon))


def _with_longer_branches(config: Config, task: str) -> Config:
    if task not in _LONGER_BRANCHES or config.data.branch_length != (1, 1):
        return config
    return replace(config, data=replace(config.data, branch_length=_LONGER_BRANCHES[task]))


ALGORITHMS: dict[str, Callable[[str, Size], Config]] = {
    name: partial(_made, name) for name in _FORMS
}
"""From a task's identifier and a size to a configuration, which is taken as it is."""


def preset(algorithm: str, task: str, size: Size = "paper") -> Config:
    """The configuration of a named algorithm on a task.

    Args:
        algorithm: see `ALGORITHMS`; `module:name` for one that a module of the user's adds.
        task: its identifier; a few settings depend on it.
        size: of its parts, see `sizes.resized`.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    config = make("algorithm", algorithm, ALGORITHMS, Config, task, size)
    if ":" in algorithm:
        _require_plain(config, algorithm)
    return config


def _require_plain(config: Config, algorithm: str) -> None:
    """ValueError if a configuration of the user's would not be read back from its file."""
    try:
        again = from_dict(json.loads(json.dumps(to_dict(config))))
    except (TypeError, ValueError) as error:
        raise ValueError(f"the row of algorithm {algorithm!r} cannot be kept: {error}") from error
    if again != config:
        raise ValueError(
            f"the row of algorithm {algorithm!r} cannot be kept: it needs plain Config, settings "
            "and numbers"
        )
