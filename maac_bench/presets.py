"""Algorithms by name: each a point in the configuration space.

Sizes and rates are those of the authors' code where the paper is silent; every difference is an
entry of docs/deviations.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

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


def changed(base: Config, **groups: Mapping[str, Any]) -> Config:
    """A configuration with other values for some settings of its groups."""
    return replace(
        base, **{name: replace(getattr(base, name), **values) for name, values in groups.items()}
    )


# Soft actor-critic (Haarnoja et al. 2018b): one update per step from real data.
_SAC = Config(
    actor=ActorSettings(horizon=0, terminal_samples=1),
    critic=CriticSettings(target="td"),
    data=DataSettings(updates_per_step=1, model_share=0.0),
)
# Model-based policy optimisation (Janner et al. 2019): SAC on branched model rollouts.
_MBPO = Config(
    actor=ActorSettings(horizon=0, terminal_samples=1),
    critic=CriticSettings(target="td"),
    model=replace(_ENSEMBLE, members=7, elites=5),
    data=DataSettings(updates_per_step=20, model_share=0.95, refit_every=250),
)
# SAC with stochastic-ensemble value expansion (Buckman et al. 2018) on real data.
_STEVE = Config(
    actor=ActorSettings(horizon=0, terminal_samples=1),
    critic=CriticSettings(target="steve", target_horizon=3),
    model=_ENSEMBLE,
    data=DataSettings(updates_per_step=8, model_share=0.0),
)
# The paper's algorithm, with normalised hidden layers in model and critics.
_MAAC = Config(
    actor=ActorSettings(horizon=4, terminal_samples=5, entropy="path"),
    critic=CriticSettings(target="steve", target_horizon=2, layer_norm=True),
    model=replace(_ENSEMBLE, layer_norm=True),
)
_MAAC_H0 = changed(_MAAC, actor={"horizon": 0})
# The authors' form: plain nets, entropy of the first action, rollouts without noise.
_MAAC_AUTHORS = Config(
    actor=ActorSettings(horizon=4, terminal_samples=5, entropy="first"),
    critic=CriticSettings(target="steve", target_horizon=2),
    model=replace(_ENSEMBLE, noisy=False),
    data=DataSettings(model_capacity=2_000_000),
)
# MAAC with three parts of Kubo et al. (2025), where H > 0 pays: branches long enough for D_model to
# hold states of the policy itself, critics that are trained along the actor's rollout, and values
# bounded by the rewards seen.
_MAAC_PLUS = changed(
    _MAAC,
    data={"branch_length": (5, 20), "branch_ramp": (10, 30)},
    critic={"target": "path", "bounded": True},
)
# Critics whose outputs are in units of 100 rewards: at a discount of 0.99 the value of a reward of
# 1 in every step. Adam takes steps of a given size whatever the output means. Kubo et al. (2025)
# scale theirs by a learned interval.
_SCALED = {"unit": 100.0}
# Critics that put out, and are fitted to, signed square roots of values. The larger a value, the
# further a step of Adam moves it (Pohlen et al. 2018).
_SQRT = {"transform": "sqrt"}
_MAAC_SCALED = changed(_MAAC, critic=_SCALED)
_TWICE_THE_UPDATES = {"updates_per_step": 2 * _MAAC.data.updates_per_step}


def _with_precision(base: Config, precision: str) -> Config:
    """The same with products between hidden layers of that precision, in every net."""
    return changed(base, **{net: {"precision": precision} for net in ("actor", "critic", "model")})


_FORMS = {
    "sac": _SAC,
    "mbpo": _MBPO,
    "steve": _STEVE,
    "maac": _MAAC,
    # The paper's ablations.
    "maac-h0": _MAAC_H0,
    "maac-no-steve": changed(_MAAC, critic={"target": "td"}),
    "maac-single-sample": changed(_MAAC, actor={"terminal_samples": 1}),
    # Which net needs the normalisation that the paper does not have.
    "maac-plain-critic": changed(_MAAC, critic={"layer_norm": False}),
    "maac-plain-model": changed(_MAAC, model={"layer_norm": False}),
    "maac-plain": changed(_MAAC, critic={"layer_norm": False}, model={"layer_norm": False}),
    # Whose entropy counts.
    "maac-first-entropy": changed(_MAAC, actor={"entropy": "first"}),
    "maac-authors": _MAAC_AUTHORS,
    # `maac-plus`, and without each of its parts.
    "maac-plus": _MAAC_PLUS,
    "maac-plus-short-branches": replace(_MAAC_PLUS, data=_MAAC.data),
    "maac-plus-steve": changed(_MAAC_PLUS, critic={"target": "steve"}),
    "maac-plus-unbounded": changed(_MAAC_PLUS, critic={"bounded": False}),
    # What the critics' networks put out.
    "maac-scaled-critic": _MAAC_SCALED,
    "maac-h0-scaled-critic": changed(_MAAC_H0, critic=_SCALED),
    "maac-plus-scaled-critic": changed(_MAAC_PLUS, critic=_SCALED),
    "mbpo-scaled-critic": changed(_MBPO, critic=_SCALED),
    "steve-scaled-critic": changed(_STEVE, critic=_SCALED),
    "sac-scaled-critic": changed(_SAC, critic=_SCALED),
    "maac-sqrt-critic": changed(_MAAC, critic=_SQRT),
    "maac-h0-sqrt-critic": changed(_MAAC_H0, critic=_SQRT),
    # What an update, a fit and a target cost, and are worth.
    "maac-more-updates": changed(_MAAC, data=_TWICE_THE_UPDATES),
    "maac-scaled-critic-more-updates": changed(_MAAC_SCALED, data=_TWICE_THE_UPDATES),
    "maac-short-fits": changed(_MAAC, data={"refit_steps": 1600}),
    # Every member in the targets, in whatever size, said as a number.
    "maac-all-members": changed(_MAAC, critic={"target_members": _MAAC.model.members}),
    "maac-bfloat16": _with_precision(_MAAC, "bfloat16"),
    "maac-scaled-critic-tf32": _with_precision(_MAAC_SCALED, "tf32"),
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
    config = _FORMS[algorithm]
    if algorithm.startswith("maac"):
        longest = config.actor.horizon
        horizon = min(longest, _SHORTER_HORIZON.get(task, longest))
        config = changed(config, actor={"horizon": horizon})
    usual = _MBPO.data.updates_per_step
    if algorithm.startswith("mbpo") and config.data.updates_per_step == usual:
        config = changed(config, data={"updates_per_step": _MBPO_UPDATES.get(task, usual)})
    if algorithm.startswith(("mbpo", "maac")) and config.data.branch_length == (1, 1):
        config = changed(config, data={"branch_length": _LONGER_BRANCHES.get(task, (1, 1))})
    return resized(config, size)


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
