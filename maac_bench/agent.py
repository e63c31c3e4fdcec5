"""Actor, critics and temperature, and their update, whose gradients are stopped here alone.

The objectives are those that are scored against the exact gradient; what is added here is which
parameters each of them moves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from maac_bench.adam import adam_step, init_adam
from maac_bench.config import Config
from maac_bench.critics import NeuralCritics, init_critics, polyak
from maac_bench.dynamics import NoDynamics
from maac_bench.fusion import fuse
from maac_bench.nets import Normalizer, init_mlp
from maac_bench.objectives.pathwise import ActorTerms, actor_terms
from maac_bench.objectives.soft_bellman import soft_return_interval
from maac_bench.objectives.temperature import temperature_loss
from maac_bench.policies import SquashedGaussian
from maac_bench.regression import (
    Regression,
    Target,
    expansion_regression,
    path_regression,
)
from maac_bench.rollout import draw_rollout_noise
from maac_bench.streams import StreamFactory, Streams
from maac_bench.types import Gradient, Interval, RolloutNoise, Transition
from maac_bench.world import World


class UpdateNoise(NamedTuple):
    """Pre-drawn randomness of one update.

    target: expansion from the next states, [seeds, 1, B, ...]: shared by the members.
    actor: H-step rollouts from the states, [seeds, B, ...].
    """

    target: RolloutNoise
    actor: RolloutNoise


class CriticStep(NamedTuple):
    """What an update of the critics needs: their gradient, and what to log.

    loss: half the mean squared error of the transformed values, summed over critics, [seeds].
    value: mean over critics and batch, [seeds].
    """

    gradient: Gradient
    target: Target
    loss: Tensor
    value: Tensor


class ActorStep(NamedTuple):
    """What an update of actor and temperature needs: their gradients, and what to log.

    of_temperature: derivative with respect to log alpha, [seeds]. loss: negative mean objective,
    [seeds]. entropy: mean of `-log pi`, [seeds].
    """

    gradient: Gradient
    of_temperature: Tensor
    loss: Tensor
    entropy: Tensor


class Agent:
    """The learned parts besides the model; `update` changes their parameters in place.

    Args:
        config: architecture and optimisation.
        state_size: n.
        action_size: m; actions lie in (-1, 1).
        streams: makes the random streams of the initialisation.
    """

    def __init__(
        self, config: Config, state_size: int, action_size: int, streams: StreamFactory
    ) -> None:
        self.config = config
        self.sizes = (state_size, action_size)
        actor, critic = config.actor, config.critic
        init = streams("policy-init")
        seeds, device = len(init), init.device
        net = init_mlp(init, None, state_size, 2 * action_size, actor)
        self.policy = SquashedGaussian(net.replace(_leaves(net.parameters)))
        width = state_size + action_size
        raw = Normalizer(
            torch.zeros(seeds, width, device=device), torch.ones(seeds, width, device=device)
        )
        critics = init_critics(
            streams("critic-init"),
            raw,
            torch.full((seeds,), critic.unit, device=device),
            critic,
            count=critic.count,
            transform=critic.transform,
        )
        self.critics = critics.replace(_leaves(critics.parameters))
        self.targets = critics.replace([p.clone() for p in critics.parameters])
        initial = torch.full((seeds,), actor.initial_temperature, device=device).log()
        self.log_temperature = initial.requires_grad_()
        self.optimizers = {
            "actor": init_adam(self.policy.parameters),
            "critic": init_adam(self.critics.parameters),
            "temperature": init_adam([self.log_temperature]),
        }

    @property
    def temperature(self) -> Tensor:
        """alpha, [seeds], as a constant."""
        return self.log_temperature.detach().exp()

    def compile(self) -> None:
        """Fuse the update into one program."""
        self.update = fuse(self.update, self.log_temperature.device)  # type: ignore[method-assign]

    def draw_noise(self, streams: Streams, world: World, batch: int) -> UpdateNoise:
        """The randomness of one update of `batch` transitions per seed."""
        actor, (n, m) = self.config.actor, self.sizes
        return UpdateNoise(
            # One noise for all members, so their disagreement is what they learned.
            target=draw_rollout_noise(
                streams, NoDynamics(), self.config.expansion_horizon, (1, batch), n, m
            ),
            actor=draw_rollout_noise(
                streams, world.dynamics, actor.horizon, (batch,), n, m, actor.terminal_samples
            ),
        )

    @torch.no_grad()
    def regression(self, world: World, batch: Transition, noise: UpdateNoise) -> Regression:
        """What the critics are fitted to: TD, value expansion, STEVE or path; constants."""
        settings = self.config.critic
        interval = self._value_interval(world) if settings.bounded else None
        alpha = self.temperature
        if settings.target == "path":
            problem = world.problem(world.dynamics, self.targets)
            return path_regression(problem, self.policy, alpha, batch.state, noise.actor, interval)
        problem = world.problem(world.members(settings.target_members), self.targets)
        steve = settings.target == "steve"
        return expansion_regression(
            problem, self.policy, alpha, batch, noise.target, steve, interval
        )

    def _value_interval(self, world: World) -> Interval:
        """What soft values can be, by the rewards seen, [seeds] each."""
        assert world.rewards is not None, "bounded critics come with the rewards seen"
        alpha, m = self.temperature, self.sizes[1]
        # No squashed action has more entropy than the uniform one; the least is aimed at.
        least = min(0.0, self.config.actor.target_entropy * m)
        entropies = Interval(alpha * least, alpha * (m * math.log(2.0)))
        return soft_return_interval(world.rewards, entropies, world.discount)

    def constant_critics(self) -> NeuralCritics:
        """The critics, of which nothing is learned."""
        return self.critics.replace([p.detach() for p in self.critics.parameters])

    def actor_terms(self, world: World, state: Tensor, noise: RolloutNoise) -> ActorTerms:
        """The actor's objective at `state`, differentiable in the policy alone."""
        problem = world.problem(world.dynamics, self.constant_critics())
        return actor_terms(problem, self.policy, state, noise, self.config.actor.entropy)

    def actor_loss(self, terms: ActorTerms) -> Tensor:
        """Negative mean objective, [seeds]."""
        return -terms.objective(self.temperature).mean(dim=-1)

    def _critic_step(self, world: World, batch: Transition, noise: UpdateNoise) -> CriticStep:
        found = self.regression(world, batch, noise)
        outputs = self.critics.outputs(found.state, found.action)
        error = outputs - self.critics.encode(found.target.value)
        loss = found.mean(0.5 * error.square()).sum(dim=0)
        gradient = _gradient(loss, self.critics.parameters)
        value = found.mean(self.critics.decode(outputs.detach())).mean(dim=0)
        return CriticStep(gradient, found.target, loss.detach(), value)

    def _actor_step(self, world: World, state: Tensor, noise: RolloutNoise) -> ActorStep:
        terms = self.actor_terms(world, state, noise)
        loss = self.actor_loss(terms)
        gradient = _gradient(loss, self.policy.parameters)
        log_prob = terms.log_prob.detach()
        entropy_goal = self.config.actor.target_entropy * self.sizes[1]
        of_temperature = temperature_loss(self.log_temperature, log_prob, entropy_goal).mean(dim=-1)
        (temperature,) = _gradient(of_temperature, (self.log_temperature,))
        return ActorStep(gradient, temperature, loss.detach(), -log_prob.mean(dim=-1))

    def update(self, world: World, batch: Transition, noise: UpdateNoise) -> dict[str, Tensor]:
        """One step of critics, actor, temperature and target networks.

        Args:
            world: held fixed.
            batch: transitions, [seeds, B, ...].
            noise: from `draw_noise`.

        Returns:
            What to log, [seeds] each.
        """
        config, memory = self.config, self.optimizers
        critic = self._critic_step(world, batch, noise)
        own, rate = self.critics.parameters, config.critic.learning_rate
        adam_step(memory["critic"], own, critic.gradient, rate)
        actor = self._actor_step(world, batch.state, noise.actor)
        own, rate = self.policy.parameters, config.actor.learning_rate
        adam_step(memory["actor"], own, actor.gradient, rate)
        own, rate = (self.log_temperature,), config.actor.temperature_learning_rate
        adam_step(memory["temperature"], own, (actor.of_temperature,), rate)
        with torch.no_grad():
            online = self.critics.parameters
            for target, parameter in zip(self.targets.parameters, online, strict=True):
                target.copy_(polyak(target, parameter, config.critic.target_rate))
        weights = {f"target_weight_{h}": weight for h, weight in enumerate(critic.target.weights)}
        return {
            "critic_loss": critic.loss,
            "actor_loss": actor.loss,
            "value": critic.value,
            "entropy": actor.entropy,
            "temperature": self.temperature,
            **weights,
        }


def _gradient(losses: Tensor, parameters: Sequence[Tensor]) -> Gradient:
    """Summed losses keep every seed's gradient its own."""
    return torch.autograd.grad(losses.sum(), list(parameters))


def _leaves(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [p.detach().clone().requires_grad_() for p in parameters]
