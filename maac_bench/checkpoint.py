"""A trainer's whole state as named tensors with the seed axis in front, and back.

Parameters, optimiser moments, replay and every random generator are in it, so a restored trainer
goes on with the same numbers. One seed's share is a slice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from maac_bench.agent import Agent
from maac_bench.config import Config
from maac_bench.dynamics import Ensemble
from maac_bench.imagination import Imagination
from maac_bench.model_fitting import ModelReport, build_ensemble
from maac_bench.nets import Normalizer
from maac_bench.streams import Streams
from maac_bench.trainer import Trainer


class Snapshot(NamedTuple):
    """tensors: [seeds, ...] each, by name. counters: plain JSON values.

    On a CPU the tensors are the trainer's own: to be written before it goes on.
    """

    tensors: Mapping[str, Tensor]
    counters: Mapping[str, Any]

    def select(self, keep: Sequence[int]) -> Snapshot:
        """The share of the seeds at these places of the stack."""
        index = torch.tensor(list(keep), dtype=torch.int64)
        counters = dict(self.counters)
        for name in ("seeds", "episodes", "ages", "evaluation_episodes"):
            counters[name] = [counters[name][k] for k in keep]
        return Snapshot(
            {name: x.index_select(0, index) for name, x in self.tensors.items()}, counters
        )


def capture(trainer: Trainer) -> Snapshot:
    """The state between two rollouts."""
    agent, imagination = trainer.agent, trainer.imagination
    groups: dict[str, Sequence[Tensor]] = {
        "policy": agent.policy.parameters,
        "critics": agent.critics.parameters,
        "targets": agent.targets.parameters,
        "temperature": [agent.log_temperature],
        "real": [trainer.real.rows()],
        "imagined": [imagination.data.rows()],
        "state": [torch.from_numpy(trainer.episodes.current())],
        **{f"stream.{name}": [s.state()] for name, s in trainer.streams.items()},
    }
    for name, adam in agent.optimizers.items():
        groups |= {f"adam.{name}.exp_avg": adam.means, f"adam.{name}.exp_avg_sq": adam.squares}
    learned = {"model": imagination.model}
    learned["outcome"] = None if imagination.outcome is None else imagination.outcome.ensemble
    for name, ensemble in learned.items():
        if ensemble is not None:
            groups[name] = ensemble.parameters
            groups[f"{name}.normalizers"] = [*ensemble.inputs, *ensemble.targets]
    for name, fit in imagination.fits.items():
        groups[f"{name}.fit"] = list(fit)
    tensors = {
        f"{group}.{i}": tensor.detach().cpu().contiguous()
        for group, members in groups.items()
        for i, tensor in enumerate(members)
    }
    counters = {
        "seeds": list(trainer.seeds),
        "env_steps": trainer.env_steps,
        "rollouts": trainer.rollouts,
        "updates": trainer.updates,
        "imagined_added": imagination.data.added,
        "adam_steps": {name: int(adam.steps) for name, adam in agent.optimizers.items()},
        "episodes": list(trainer.episodes.count),
        "ages": list(trainer.episodes.age),
        "evaluation_episodes": list(trainer.evaluations.count),
    }
    return Snapshot(tensors, counters)


def restore(trainer: Trainer, snapshot: Snapshot) -> None:
    """Put a fresh trainer of the same configuration and seeds into this state.

    Raises:
        ValueError: the state does not fit, or the environment does not repeat itself.
    """
    try:
        _require_same_length(trainer, snapshot.counters)
        _restore_networks(trainer, snapshot)
        _restore_data(trainer, snapshot)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"the checkpoint does not fit this configuration: {error}") from error


def _require_same_length(trainer: Trainer, counters: Mapping[str, Any]) -> None:
    """ValueError where the task's time limit has changed, by which rollouts are counted."""
    rollouts, env_steps = counters["rollouts"], counters["env_steps"]
    if rollouts and rollouts * trainer.steps != env_steps:
        raise ValueError(
            f"the run's rollouts were {env_steps // rollouts} steps long, and the time limit of "
            f"{trainer.task.name} is {trainer.steps} now: choose another directory"
        )


def restore_agent(agent: Agent, snapshot: Snapshot) -> None:
    """Put an agent's parameters, without its optimisers, into a snapshot's state."""
    with torch.no_grad():
        for name, own in (
            ("policy", agent.policy.parameters),
            ("critics", agent.critics.parameters),
            ("targets", agent.targets.parameters),
            ("temperature", [agent.log_temperature]),
        ):
            for mine, saved in zip(own, _group(snapshot, name), strict=True):
                mine.copy_(saved)


def _restore_networks(trainer: Trainer, snapshot: Snapshot) -> None:
    agent, counters = trainer.agent, snapshot.counters
    restore_agent(agent, snapshot)
    for name, adam in agent.optimizers.items():
        if not counters["adam_steps"][name]:
            continue
        adam.steps.fill_(counters["adam_steps"][name])
        for moment, own in (("exp_avg", adam.means), ("exp_avg_sq", adam.squares)):
            for mine, saved in zip(own, _group(snapshot, f"adam.{name}.{moment}"), strict=True):
                mine.copy_(saved)
    restore_world(trainer.imagination, snapshot)


def restore_world(imagination: Imagination, snapshot: Snapshot) -> None:
    """Put ensembles and the rewards seen, without D_model, into a snapshot's state."""
    build = partial(_ensemble, snapshot, imagination.config, imagination.data.device)
    model, outcome = build("model"), build("outcome")
    if model is not None:
        fit = _fit(snapshot, "model", imagination.data.device)
        assert fit is not None, "a model is saved with its fit"
        imagination.set_model(model, fit)
    if outcome is not None:
        imagination.set_outcome(outcome, _fit(snapshot, "outcome", imagination.data.device))
    if imagination.world.rewards is not None and snapshot.tensors["real.0"].shape[1]:
        seen = imagination.data.unpack(snapshot.tensors["real.0"])
        imagination.see(seen.reward.to(imagination.data.device))


def _ensemble(
    snapshot: Snapshot, config: Config, device: torch.device, name: str
) -> Ensemble | None:
    # Copies: the trainer goes on changing what it is given.
    parameters = [p.to(device, copy=True) for p in _group(snapshot, name)]
    if not parameters:
        return None
    statistics = [x.to(device, copy=True) for x in _group(snapshot, f"{name}.normalizers")]
    ensemble = build_ensemble(
        Normalizer(*statistics[:2]),
        Normalizer(*statistics[2:]),
        config.model,
        Streams(snapshot.counters["seeds"], "unused", device),
    )
    return ensemble.replace(parameters)


def _fit(snapshot: Snapshot, name: str, device: torch.device) -> ModelReport | None:
    """What the last fit measured; earlier versions did not keep that of the outcome."""
    saved = [x.to(device) for x in _group(snapshot, f"{name}.fit")]
    return ModelReport(*saved) if saved else None


def _restore_data(trainer: Trainer, snapshot: Snapshot) -> None:
    counters = snapshot.counters
    trainer.env_steps, trainer.updates = counters["env_steps"], counters["updates"]
    trainer.real.restore(snapshot.tensors["real.0"].to(trainer.device), trainer.env_steps)
    trainer.imagination.data.restore(
        snapshot.tensors["imagined.0"].to(trainer.device), counters["imagined_added"]
    )
    for name, stream in trainer.streams.items():
        stream.restore(snapshot.tensors[f"stream.{name}.0"])
    # Earlier versions kept the counts of seeds that had failed; all counts are equal.
    trainer.evaluations.skip_to(counters["evaluation_episodes"][: len(trainer.seeds)])
    actions = trainer.real.all().action.cpu().numpy()
    ages = counters["ages"]
    played = [actions[k, len(actions[k]) - age :] for k, age in enumerate(ages)]
    reached = trainer.episodes.restore(counters["episodes"], played)
    expected = snapshot.tensors["state.0"].numpy()
    for k, age in enumerate(ages):
        if age and not np.array_equal(reached[k], expected[k]):
            raise ValueError(
                f"seed {trainer.seeds[k]}: the environment does not reach the same state when its "
                "actions are repeated, so the run cannot be resumed exactly"
            )


def _group(snapshot: Snapshot, name: str) -> list[Tensor]:
    tensors = snapshot.tensors
    found: list[Tensor] = []
    while f"{name}.{len(found)}" in tensors:
        found.append(tensors[f"{name}.{len(found)}"])
    return found
