import math
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch

from maac_bench.agent import Agent
from maac_bench.planning import Candidates, Planner, PlannerSettings
from maac_bench.presets import preset
from maac_bench.streams import Streams
from maac_bench.types import Action
from maac_bench.world import World


class Adder(NamedTuple):
    """s' = s + a, with noise unless asked for mean predictions: what is to be found is known."""

    noisy: bool = True

    @property
    def members(self):
        return 0

    def step(self, state, action, noise):
        return state + action + (noise.normal if self.noisy else 0.0)


class Cliff(Adder):
    """The same, but beyond 0.9 the model diverges."""

    def step(self, state, action, noise):
        following = super().step(state, action, noise)
        return following.where(following < 0.9, math.nan)


class Always(NamedTuple):
    """A policy whose actions say whose they are: 0.3, and a hundredth of the noise around it."""

    parameters: tuple = ()

    def mean_action(self, state):
        return torch.full_like(state, 0.3)

    def sample(self, state, noise):
        value = (0.3 + 0.01 * noise).expand_as(state)
        return Action(value, value, torch.zeros_like(value[..., 0]))


def twins(state, action):
    """The second is 100 above the first, which is told apart by state and action."""
    value = 10.0 * state[..., 0] + action[..., 0]
    return torch.stack([value, value + 100.0])


def reward(state, action, next_state):
    return -next_state.square().sum(dim=-1)


def never(state, action, next_state):
    return torch.zeros_like(state[..., 0])


def recognisable(**sizes):
    """A planner whose policy, critics and model can be told apart in what it does."""
    agent = SimpleNamespace(policy=Always(), critics=twins, sizes=(1, 1))
    world = World(Adder(), reward, never, 0.9)
    settings = PlannerSettings(**{"horizon": 2, "population": 64, "elites": 64, **sizes})
    return Planner(agent, world, settings, Streams([0], "planning"))


def planner(seeds=(0,), value=None, dynamics=None, **sizes):
    agent = Agent(preset("maac", "any", "tiny"), 1, 1, lambda purpose: Streams(seeds, purpose))
    if value is not None:
        agent.critics = lambda state, action: value(state)[None]
    world = World(dynamics or Adder(), reward, never, 0.9)
    settings = PlannerSettings(**{"horizon": 3, "population": 64, "elites": 8, **sizes})
    return Planner(agent, world, settings, Streams(seeds, "planning"))


def nothing(state):
    return torch.zeros_like(state[..., 0])


@pytest.mark.parametrize("start", [0.5, -0.3])
def test_the_plan_goes_where_the_reward_is(start):
    """One step of -s reaches the best state, and staying there is best."""
    found = planner(value=nothing, iterations=6)
    action = found.mean_action(torch.full((1, 1, 1), start))
    assert action.item() == pytest.approx(-start, abs=0.1)


def test_more_iterations_find_better_plans():
    errors = [
        abs(planner(value=nothing, iterations=n).mean_action(torch.full((1, 1, 1), 0.7)) + 0.7)
        for n in (1, 6)
    ]
    assert errors[1] < errors[0]


def test_the_critic_closes_the_plan():
    """With no reward on the way the plan climbs the critic, to the action's limit."""
    found = planner(value=lambda state: 100.0 * state[..., 0], horizon=1, iterations=6)
    assert found.mean_action(torch.zeros(1, 1, 1)).item() > 0.9


def test_the_last_plan_shifted_by_a_step_is_a_candidate():
    found = recognisable(horizon=3)
    found._plan = torch.tensor([[[0.1], [0.2], [0.7]]])
    candidates = found._propose(torch.full((1, 1, 1), 0.5))
    assert candidates.returns.shape == (1, 65)
    assert candidates.actions[0, -1, :, 0].tolist() == pytest.approx([0.2, 0.7, 0.7])


def test_a_sequence_is_worth_its_discounted_rewards_and_the_smallest_critic():
    """Mean predictions on the way, and at the end the critic at the policy's mean action."""
    actions = torch.tensor([[[[0.5], [-0.2]], [[0.0], [0.1]]]])
    found = recognisable()._follow(torch.full((1, 1, 1), 1.0), actions)
    by_hand = [
        -(1.5**2) - 0.9 * 1.3**2 + 0.81 * (10.0 * 1.3 + 0.3),
        -(1.0**2) - 0.9 * 1.1**2 + 0.81 * (10.0 * 1.1 + 0.3),
    ]
    assert found.returns[0].tolist() == pytest.approx(by_hand, rel=1e-5)


def test_the_policy_proposes_the_first_population():
    action = recognisable(iterations=1).mean_action(torch.zeros(1, 1, 1))
    assert float(action) == pytest.approx(0.3, abs=0.01)


def test_actions_stay_within_their_limits():
    elites = Candidates(torch.linspace(-0.9, 0.9, 8).reshape(1, 4, 2, 1), torch.zeros(1, 4))
    actions = recognisable()._refine(torch.zeros(1, 1, 1), elites).actions
    assert (actions.min(), actions.max()) == (-1.0, 1.0)


def test_elites_are_kept_until_better_ones_are_found(monkeypatch):
    found = recognisable(iterations=2)
    worse = Candidates(torch.full((1, 64, 2, 1), -0.9), torch.full((1, 64), -1e6))
    monkeypatch.setattr(found, "_refine", lambda state, elites: worse)
    assert float(found.mean_action(torch.zeros(1, 1, 1))) == pytest.approx(0.3, abs=0.01)


def test_a_sequence_that_diverges_is_the_last_and_not_the_best():
    """From 0.5 the best action is -0.5; above 0.4 the model has no number for what follows."""
    found = planner(value=nothing, dynamics=Cliff(), iterations=6)
    first = found._propose(torch.full((1, 1, 1), 0.5))
    assert not first.returns.isfinite().all(), "the policy proposes none that diverges"
    assert first.best(8).returns.isfinite().all()
    assert found.mean_action(torch.full((1, 1, 1), 0.5)).item() == pytest.approx(-0.5, abs=0.1)


def test_a_model_that_always_diverges_is_an_error():
    found = planner(seeds=(0, 1), value=nothing, dynamics=Cliff())
    start = torch.tensor([[[6.0]], [[5.0]]])
    with pytest.raises(FloatingPointError, match=r"64 sequences only \[0, 0\].* 8 are needed"):
        found.mean_action(start)


def test_a_seed_whose_model_diverges_does_not_stop_the_others():
    found = planner(seeds=(0, 1), value=nothing, dynamics=Cliff())
    alone = planner(seeds=(0,), value=nothing, dynamics=Cliff())
    for _ in range(2):  # the second plan goes on from the first
        action = found.mean_action(torch.tensor([[[0.0]], [[5.0]]]))
        torch.testing.assert_close(action[:1], alone.mean_action(torch.zeros(1, 1, 1)))
        assert action[1].isnan().all()
    assert found.mean_action(torch.zeros(2, 1, 1)).isfinite().all(), "where it does not, it plans"


def test_seeds_plan_for_themselves():
    state = torch.tensor([[[0.5]], [[-0.4]]])
    together = planner(seeds=(0, 1)).mean_action(state)
    alone = planner(seeds=(1,)).mean_action(state[1:])
    torch.testing.assert_close(together[1:], alone)


def test_planning_needs_a_model():
    agent = Agent(preset("sac", "any", "tiny"), 1, 1, lambda purpose: Streams([0], purpose))
    with pytest.raises(ValueError, match="planning needs a model"):
        Planner(agent, World(None, reward, never, 0.9), PlannerSettings(), Streams([0], "p"))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"population": 10, "elites": 11}, "between 2 and the population 10, got 11"),
    ],
)
def test_a_search_that_cannot_be_done_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        PlannerSettings(**bad)
