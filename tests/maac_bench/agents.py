"""Agents and worlds for tests, three state entries and two actions."""

from dataclasses import replace
from typing import Any

import torch

from maac_bench.agent import Agent
from maac_bench.config import ActorSettings, Config, CriticSettings
from maac_bench.dynamics import Ensemble
from maac_bench.evaluation import Record
from maac_bench.nets import MLP, Normalizer
from maac_bench.streams import Streams
from maac_bench.tasks.base import never
from maac_bench.types import Transition
from maac_bench.world import World

N, M = 3, 2
ACTOR = ActorSettings(horizon=0, terminal_samples=1, hidden=(8,))
CRITIC = CriticSettings(target="td", hidden=(8,))


def make_agent(seeds=(0,), actor: dict[str, Any] | None = None, **critic: Any) -> Agent:
    """A SAC agent but for the settings given."""
    config = Config(actor=replace(ACTOR, **(actor or {})), critic=replace(CRITIC, **critic))
    return Agent(config, N, M, lambda purpose: Streams(seeds, purpose))


def tagged_model(*tags: float, seeds: int = 1) -> Ensemble:
    """Noise-free members of which the i-th moves every state entry by tags[i]."""
    bias = torch.zeros(seeds, len(tags), 2 * N)
    bias[..., :N] = torch.tensor(tags).unsqueeze(-1)
    net = MLP((torch.zeros(seeds, len(tags), N + M, 2 * N),), (bias,), "tanh", False)
    inputs, targets = (
        Normalizer(torch.zeros(seeds, size), torch.ones(seeds, size)) for size in (N + M, N)
    )
    return Ensemble(net, inputs, targets, noisy=False)


def place(state, action, next_state):
    """Reward: where the step led."""
    return next_state[..., 0]


def make_world(model: Ensemble | None = None, discount: float = 0.5, reward=place) -> World:
    return World(model, reward, never, discount)


def make_batch(seeds=(0,), size: int = 6) -> Transition:
    """Random transitions, one in three terminal."""
    stream = Streams(seeds, "batch")
    return Transition(
        stream.normal(size, N),
        2.0 * stream.uniform(size, M) - 1.0,
        stream.normal(size),
        stream.normal(size, N),
        (torch.arange(size) % 3 == 0).to(torch.get_default_dtype()).expand(len(seeds), -1),
    )


def draw(agent: Agent, world: World, batch: Transition, seeds=(0,), purpose: str = "noise"):
    return agent.draw_noise(Streams(seeds, purpose), world, batch.reward.shape[1])


def make_record(states, actions, rewards, alive=None, terminated=None, log_probs=None) -> Record:
    """Time first; everything alive and cut by the time limit unless said otherwise."""
    plain = torch.zeros_like(rewards)
    return Record(
        states,
        actions,
        plain if log_probs is None else log_probs,
        rewards,
        torch.ones_like(rewards) if alive is None else alive,
        plain[0] if terminated is None else terminated,
    )
