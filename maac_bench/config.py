"""The one configuration space: SAC, MBPO, STEVE, MAAC and the ablations are points in it."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeAlias

import torch

from maac_bench.checks import require_whole
from maac_bench.model_fitting import ModelConfig
from maac_bench.nets import Layers, require_layers
from maac_bench.objectives.pathwise import Entropy

Target: TypeAlias = Literal["td", "expansion", "steve", "path"]
Transform: TypeAlias = Literal["identity", "sqrt"]


def _require(config: object, low: float, *names: str) -> None:
    for name in names:
        if not low <= getattr(config, name) < math.inf:
            raise ValueError(f"{name} must be at least {low:g}, got {getattr(config, name)}")


def _require_net(net: Layers, learning_rate: float) -> None:
    require_layers(net)
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate}")


def _require_positive_single(config: object, name: str) -> None:
    """Positive, and neither 0 nor infinite once it is in a network's numbers."""
    value, single = getattr(config, name), torch.finfo(torch.float32)
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")
    if not single.tiny <= value <= single.max:
        raise ValueError(
            f"{name} must lie within single precision, {single.tiny:.3g} to {single.max:.3g}, "
            f"got {value}"
        )


@dataclass(frozen=True)
class ActorSettings:
    """The policy and the objective it is trained on (paper, Sec. 4.1)."""

    horizon: int = 4
    """H, model transitions in the actor objective; 0 is the SAC actor"""
    terminal_samples: int = 5
    """actions averaged in the terminal value"""
    entropy: Entropy = "path"
    """actions whose entropy is rewarded: the first one, or all along the path"""
    hidden: tuple[int, ...] = (256, 256)
    """hidden layer widths"""
    activation: str = "relu"
    """hidden activation"""
    layer_norm: bool = False
    """normalise hidden layers"""
    precision: str = "full"
    """of the products between hidden layers: full, tf32 (on a GPU) or bfloat16"""
    learning_rate: float = 3e-4
    """Adam step size"""
    initial_temperature: float = 1.0
    """alpha at the start"""
    temperature_learning_rate: float = 3e-4
    """Adam step size of log alpha"""
    target_entropy: float = -1.0
    """nats per action dimension"""

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        require_whole(self)
        _require(self, 0, "horizon", "temperature_learning_rate")
        _require(self, 1, "terminal_samples")
        _require_net(self, self.learning_rate)
        if self.entropy not in typing.get_args(Entropy):
            raise ValueError(f"entropy must be 'first' or 'path', got {self.entropy!r}")
        _require_positive_single(self, "initial_temperature")
        if not math.isfinite(self.target_entropy):
            raise ValueError(f"target_entropy must be finite, got {self.target_entropy}")


@dataclass(frozen=True)
class CriticSettings:
    """The Q-functions and their targets (paper, Sec. 4.3)."""

    target: Target = "steve"
    """td: one-step; expansion: H model steps; steve: weighted over 0 ... H model steps; path: every
    step of the actor's own rollout"""
    target_horizon: int = 2
    """model steps of expansion and steve"""
    target_members: int = 0
    """ensemble members that serve the target; 0: all"""
    bounded: bool = False
    """clip the target networks to the returns that the rewards seen so far allow"""
    count: int = 2
    """number of Q-networks; targets and actor take their minimum"""
    hidden: tuple[int, ...] = (256, 256)
    """hidden layer widths"""
    activation: str = "relu"
    """hidden activation"""
    layer_norm: bool = False
    """normalise hidden layers"""
    precision: str = "full"
    """of the products between hidden layers: full, tf32 (on a GPU) or bfloat16"""
    unit: float = 1.0
    """what one unit of the networks' outputs is worth, in rewards; where a
    transform begins to bend"""
    transform: Transform = "identity"
    """what the networks put out and are fitted in: values, or their signed square roots"""
    learning_rate: float = 3e-4
    """Adam step size"""
    target_rate: float = 5e-3
    """Polyak rate of the target networks"""

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        require_whole(self)
        _require(self, 0, "target_horizon", "target_members")
        _require(self, 1, "count")
        _require_net(self, self.learning_rate)
        for name, known in (("target", Target), ("transform", Transform)):
            value, choices = getattr(self, name), typing.get_args(known)
            if value not in choices:
                raise ValueError(f"{name} {value!r} is unknown; choose from {', '.join(choices)}")
        _require_positive_single(self, "unit")
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate must lie in (0, 1], got {self.target_rate}")


@dataclass(frozen=True)
class DataSettings:
    """Where batches come from and how often things happen; counts are per seed."""

    random_rollouts: int = 5
    """rollouts of uniform actions before training"""
    updates_per_step: int = 8
    """agent updates per environment step"""
    batch_size: int = 256
    """transitions per update"""
    model_share: float = 0.95
    """share of each batch from D_model; the rest from D_env"""
    refit_every: int = 1000
    """environment steps between fits of the model"""
    refit_steps: int = 0
    """gradient steps of such a fit at most; 0: as many as early stopping takes"""
    branch_every: int = 250
    """environment steps between model rollouts into D_model"""
    branch_transitions: int = 100_000
    """model transitions made each time, by rollouts that start at states of D_env"""
    branch_length: tuple[int, int] = (1, 1)
    """steps of a model rollout into D_model: at the start and at the end of the ramp"""
    branch_ramp: tuple[int, int] = (20, 100)
    """rollouts, the random ones included, between which branch_length grows"""
    model_capacity: int = 400_000
    """transitions held in D_model"""

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        require_whole(self)
        _require(self, 1, "random_rollouts", "refit_every", "branch_every")
        _require(self, 2, "batch_size")  # the signal-to-noise estimate compares its halves
        _require(self, 0, "updates_per_step", "refit_steps")
        if not 0 <= self.model_share <= 1:
            raise ValueError(f"model_share must lie in [0, 1], got {self.model_share}")
        if self.model_share and not self.model_rows:
            raise ValueError(
                f"model_share {self.model_share} of batch_size {self.batch_size} is less than a row"
            )
        for name in ("branch_length", "branch_ramp"):
            if len(getattr(self, name)) != 2:
                raise ValueError(f"{name} must be two numbers, got {getattr(self, name)}")
        first, last = self.branch_length
        if not 1 <= first <= last:
            raise ValueError(f"branch_length must be 1 <= first <= last, got {first}, {last}")
        if not 0 <= self.branch_ramp[0] < self.branch_ramp[1]:
            raise ValueError(f"branch_ramp must increase, got {self.branch_ramp}")
        if not last <= self.branch_transitions <= self.model_capacity:
            raise ValueError(
                f"branch_transitions must lie between branch_length {last} and "
                f"model_capacity {self.model_capacity}, got {self.branch_transitions}"
            )

    def length_at(self, rollout: int) -> int:
        """Branch length k after `rollout` episodes."""
        (first, last), (begin, end) = self.branch_length, self.branch_ramp
        share = min(1.0, max(0.0, (rollout - begin) / (end - begin)))
        return round(first + share * (last - first))

    @property
    def model_rows(self) -> int:
        """Rows of a batch that come from D_model."""
        return round(self.model_share * self.batch_size)


@dataclass(frozen=True)
class Config:
    """Everything the numbers of a run depend on besides task, seed and code."""

    actor: ActorSettings = field(default_factory=ActorSettings)
    critic: CriticSettings = field(default_factory=CriticSettings)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataSettings = field(default_factory=DataSettings)
    discount: float | None = None
    """gamma; default: the task's"""
    evaluations: int = 1
    """evaluation episodes after each rollout"""

    def __post_init__(self) -> None:
        """Refuse values that do not fit each other."""
        require_whole(self)
        _require(self, 0, "evaluations")
        if self.discount is not None and not 0 <= self.discount < 1:
            raise ValueError(f"discount must lie in [0, 1), got {self.discount}")
        if self.critic.target_members > self.model.serving:
            raise ValueError(
                f"critic.target_members {self.critic.target_members} exceeds the ensemble's "
                f"{self.model.serving} members that serve"
            )
        if self.critic.target == "steve" and self.expansion_horizon and self.critic.count < 2:
            raise ValueError(
                "critic.target steve weighs candidates by their spread, and that of one critic "
                "without model steps is 0: critic.count must be at least 2"
            )
        if self.critic.target == "path" and not self.actor.horizon:
            raise ValueError(
                "critic.target path follows the actor's rollout: actor.horizon must be at least 1"
            )

    @property
    def expansion_horizon(self) -> int:
        """Model steps of the critic's target beyond the transition it starts with."""
        expands = self.critic.target in ("expansion", "steve")
        return self.critic.target_horizon if expands else 0

    @property
    def idle(self) -> dict[str, str]:
        """Settings that nothing reads, as the beginnings of their names, and why."""
        found: dict[str, str] = {}
        if not self.uses_model:
            found |= dict.fromkeys(("model.", "data.refit_"), "no part of it uses a model")
        if not self.actor.horizon:
            found["actor.entropy"] = "its path has one action"
        if not self.actor.temperature_learning_rate and not self.critic.bounded:
            found["actor.target_entropy"] = "its temperature does not move"
        if self.data.branch_length[0] == self.data.branch_length[1]:
            found["data.branch_ramp"] = "its branches do not grow"
        if not self.data.model_rows:
            found |= dict.fromkeys(
                ("data.branch_", "data.model_capacity"), "its batches hold no imagined transitions"
            )
        for net in ("actor", "critic", "model"):
            if len(getattr(self, net).hidden) < 2:
                found.setdefault(f"{net}.precision", "it has no products between hidden layers")
        unread = "its target takes no model step"
        if self.critic.target == "path":
            unread = "its target follows the actor's rollout"
        if self.critic.target in ("td", "path"):
            found["critic.target_horizon"] = unread
        if not self.expansion_horizon:
            found["critic.target_members"] = unread
        return found

    @property
    def uses_model(self) -> bool:
        """Whether any part needs the dynamics ensemble."""
        return self.actor.horizon > 0 or self.expansion_horizon > 0 or self.data.model_rows > 0


def to_dict(config: Config) -> dict[str, Any]:
    """The configuration as JSON-ready values."""
    return asdict(config)


def from_dict(values: Mapping[str, Any]) -> Config:
    """What `to_dict` gave, here or in an earlier version; ValueError naming an unknown field.

    A field that the values lack is newer than they are: its default is what was done before it.
    """
    return typing.cast(Config, _build(Config, values, "config"))


def leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name, in order of names."""
    found: dict[str, Any] = {}
    for name, value in sorted(values.items()):
        if isinstance(value, Mapping):
            found |= leaves(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _build(kind: Any, values: Any, where: str) -> Any:  # noqa: ANN401
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} must be a group of settings, got {values!r}")
    hints = typing.get_type_hints(kind)
    unknown = set(values) - {f.name for f in fields(kind)}
    if unknown:
        raise ValueError(
            f"{where} has fields that this version does not know: {', '.join(sorted(unknown))}"
        )
    built = {}
    for name, value in values.items():
        if is_dataclass(hints[name]) and not isinstance(hints[name], types.UnionType):
            built[name] = _build(hints[name], value, f"{where}.{name}")
        else:
            built[name] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**built)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
