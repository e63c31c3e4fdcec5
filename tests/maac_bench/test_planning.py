from typing import NamedTuple

import pytest
import torch

from maac_bench.agent import Agent
from maac_bench.planning import Planner, PlannerSettings
from maac_bench.presets import preset
from maac_bench.streams import Streams
from maac_bench.world import World


class Adder(NamedTuple):
    """s' = s + a: what the planner has to find is known."""

    noisy: bool = True

    @property
    def members(self):
        return 0

    def step(self, state, action, noise):
        return state + action


def reward(state, action, next_state):
    return -next_state.square().sum(dim=-1)


def never(state, action, next_state):
    return torch.zeros_like(state[..., 0])


def planner(seeds=(0,), value=None, **sizes):
    agent = Agent(preset("maac", "any", "tiny"), 1, 1, lambda purpose: Streams(seeds, purpose))
    if value is not None:
        agent.critics = lambda state, action: value(state)[None]
    world = World(Adder(), reward, never, 0.9)
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


def test_the_last_plan_is_a_candidate():
    found = planner(value=nothing, iterations=6)
    state = torch.full((1, 1, 1), 0.5)
    first = found.mean_action(state)
    remembered = found._plan.clone()
    found.mean_action(state + first)
    assert abs(float(remembered[0, 1, 0])) < 0.2, "the first plan stays at the goal"
    assert found._propose(state + first).returns.shape == (1, 65)


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
