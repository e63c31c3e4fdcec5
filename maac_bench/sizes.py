"""How large the parts of an algorithm are; `tiny` has rates and a discount of its own besides."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple, TypeAlias

from maac_bench.config import Config
from maac_bench.names import lookup

Size: TypeAlias = Literal["paper", "small", "tiny"]


class _Sizes(NamedTuple):
    """What each part has, of this size.

    hidden: of policy and critics. model: of each of `members` ensemble members.
    """

    hidden: tuple[int, ...]
    model: tuple[int, ...]
    members: int
    target_members: int
    terminal_samples: int
    batch_size: int
    updates_divisor: int
    branch_transitions: int


_SIZES: dict[str, _Sizes | None] = {
    "paper": None,  # what the algorithms are written with
    "small": _Sizes((128, 128), (128, 128, 128), 5, 3, 2, 128, 2, 20_000),
    "tiny": _Sizes((64, 64), (64, 64), 4, 0, 2, 64, 4, 5_000),
}


def resized(config: Config, size: Size) -> Config:
    """The same algorithm in another size than the paper's; ValueError for an unknown one.

    Args:
        config: with the paper's sizes.
        size: nets, batches and updates per step as in the paper's code; small ones that a CPU core
            trains in an hour or two; or tiny ones, with rates to match, for tasks with a few
            dimensions and short episodes.
    """
    sizes = lookup("size", size, _SIZES)
    if sizes is None:
        return config
    shrunk = _shrunk(config, sizes)
    return _for_short_tasks(shrunk) if size == "tiny" else shrunk


def _for_short_tasks(config: Config) -> Config:
    """Faster rates and more frequent fits, for episodes of 200 steps and a few thousand updates."""
    rate = 1e-3
    return replace(
        config,
        actor=replace(config.actor, learning_rate=rate, temperature_learning_rate=3 * rate),
        critic=replace(config.critic, learning_rate=rate, target_rate=0.02),
        data=replace(config.data, random_rollouts=2, refit_every=200, branch_every=100),
        discount=0.98,
    )


def _shrunk(config: Config, sizes: _Sizes) -> Config:
    """The same algorithm with other sizes."""
    data, actor, critic, model = config.data, config.actor, config.critic, config.model
    serve = sizes.target_members
    if critic.target_members:  # a number that was asked for keeps its share
        serve = _share(critic.target_members, model.members, sizes.members)
    return replace(
        config,
        actor=replace(
            actor,
            hidden=sizes.hidden,
            terminal_samples=min(sizes.terminal_samples, actor.terminal_samples),
        ),
        critic=replace(
            critic,
            hidden=sizes.hidden,
            target_members=serve if config.expansion_horizon else 0,
        ),
        model=replace(
            model,
            members=sizes.members,
            elites=_share(model.elites, model.members, sizes.members),
            hidden=sizes.model,
        ),
        data=replace(
            data,
            batch_size=sizes.batch_size,
            updates_per_step=max(1, data.updates_per_step // sizes.updates_divisor),
            # 0 is no bound.
            refit_steps=-(-data.refit_steps // sizes.updates_divisor),
            branch_transitions=sizes.branch_transitions,
            model_capacity=data.model_capacity
            * sizes.branch_transitions
            // data.branch_transitions,
        ),
    )


def _share(count: int, of: int, now: int) -> int:
    """As large a part of `now` as `count` was of `of`; none stays none, which means all."""
    return max(1, round(now * count / of)) if count else 0
