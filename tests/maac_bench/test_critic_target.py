"""What the critics are regressed on: reductions, and tagged doubles that say which part ran."""

import math

import pytest
import torch

from maac_bench.objectives.soft_bellman import (
    soft_bellman_target,
    soft_return_interval,
)
from maac_bench.rollout import rollout
from maac_bench.streams import Streams
from maac_bench.tasks.base import never
from maac_bench.types import Interval
from maac_bench.world import World
from tests.maac_bench.agents import M, draw, make_agent, make_batch, make_world, tagged_model
from tests.maac_bench.trainers import fill_

pytestmark = pytest.mark.usefixtures("float64")

COLD = {"initial_temperature": 1e-30}


def target_of(agent, world, batch):
    return agent.regression(world, batch, draw(agent, world, batch)).target


def constant_critics(agent, *values):
    """Target networks that say these numbers everywhere."""
    fill_(agent.targets.parameters, 0.0)
    agent.targets.net.biases[-1].copy_(torch.tensor(values).reshape(1, -1, 1))


@pytest.mark.parametrize("count", [1, 2])
def test_td_is_the_soft_bellman_target_of_the_target_networks(count):
    agent, batch, world = make_agent(count=count), make_batch(), make_world()
    fill_(agent.critics.parameters, 7.0)
    noise = draw(agent, world, batch)
    action = agent.policy.sample(batch.next_state, noise.target.terminal[:, 0, :, 0])
    expected = soft_bellman_target(
        batch.reward,
        0.5 * (1.0 - batch.terminated),
        agent.targets(batch.next_state, action.value),
        action.log_prob,
        agent.temperature.unsqueeze(-1),
    )
    target = agent.regression(world, batch, noise).target
    torch.testing.assert_close(target.value, expected)
    assert not target.value.requires_grad


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", ["steve", "expansion"])
def test_without_model_steps_every_target_is_td(name, count):
    """Also with a model at hand."""
    batch, world = make_batch(), make_world(tagged_model(10.0, 11.0))
    agents = [make_agent(count=count, target=target, target_horizon=0) for target in ("td", name)]
    td, other = (target_of(agent, world, batch) for agent in agents)
    torch.testing.assert_close(other.value, td.value)
    assert other.weights.tolist() == [[1.0]]


@pytest.mark.parametrize(("members", "mean"), [(0, 11.0), (1, 10.0), (2, 10.5)])
def test_expansion_steps_the_chosen_members_from_the_next_state(members, mean):
    """One step pays where it leads: s' + 10, 11 or 12, member by member."""
    agent = make_agent(actor=COLD, target="expansion", target_horizon=1, target_members=members)
    constant_critics(agent, 0.0, 0.0)
    batch, world = make_batch(), make_world(tagged_model(10.0, 11.0, 12.0))
    target = target_of(agent, world, batch)
    gain = batch.next_state[..., 0] + mean
    torch.testing.assert_close(target.value, batch.reward + 0.5 * (1 - batch.terminated) * gain)
    assert target.weights.tolist() == [[0.0], [1.0]]


def test_expansion_over_two_steps_closes_with_the_smaller_critic():
    agent = make_agent(actor=COLD, target="expansion", target_horizon=2)
    constant_critics(agent, 5.0, 3.0)
    batch, world = make_batch(), make_world(tagged_model(10.0))
    start = batch.next_state[..., 0]
    gain = (start + 10.0) + 0.5 * (start + 20.0) + 0.25 * 3.0
    expected = batch.reward + 0.5 * (1 - batch.terminated) * gain
    torch.testing.assert_close(target_of(agent, world, batch).value, expected)


def test_steve_weighs_by_the_spread_over_critics_and_members():
    """Zero steps: the critics' 0 and 4, so variance 8. One step: members at s' -1, 0, 1."""
    agent = make_agent(actor=COLD, target="steve", target_horizon=1)
    constant_critics(agent, 0.0, 4.0)
    batch = make_batch()._replace(terminated=torch.zeros(1, 6))
    target = target_of(agent, make_world(tagged_model(-1.0, 0.0, 1.0)), batch)
    tags = torch.tensor([-1.0, 0.0, 1.0])
    spread = 0.25 * torch.cat([tags, tags + 0.5 * 4.0]).var()
    precision = torch.stack([1.0 / (0.25 * torch.tensor(8.0)), 1.0 / spread])
    weights = precision / precision.sum()
    torch.testing.assert_close(target.weights, weights.unsqueeze(-1))
    gain = weights[1] * batch.next_state[..., 0]  # the smaller critic says 0, members average to 0
    torch.testing.assert_close(target.value, batch.reward + 0.5 * gain)


def test_steve_with_one_member_and_equal_critics_is_the_mean_over_horizons():
    """Nothing to tell the candidates apart."""
    batch, world = make_batch(), make_world(tagged_model(10.0))
    targets = []
    for horizon in range(3):
        agent = make_agent(target="expansion", target_horizon=horizon)
        steve = make_agent(target="steve", target_horizon=2)
        for one in (agent, steve):
            for parameter in one.targets.parameters:
                parameter[:, 1] = parameter[:, 0]
        noise = draw(steve, world, batch)
        first = noise.target._replace(
            action=noise.target.action[:horizon], model=noise.target.model[:horizon]
        )
        if horizon < 2:  # the last action of a shorter expansion is that candidate's own
            first = first._replace(terminal=noise.target.action[horizon].unsqueeze(-2))
        shorter = noise._replace(target=first)
        targets.append(agent.regression(world, batch, shorter).target.value)
    result = steve.regression(world, batch, noise).target
    torch.testing.assert_close(result.value, torch.stack(targets).mean(dim=0))
    torch.testing.assert_close(result.weights, torch.full((3, 1), 1 / 3))


def test_identical_members_are_one_member():
    batch = make_batch()
    agent = make_agent(target="expansion", target_horizon=2)
    one, three = (
        target_of(agent, make_world(tagged_model(*tags)), batch).value
        for tags in ([4.0], [4.0, 4.0, 4.0])
    )
    torch.testing.assert_close(three, one)


def test_the_temperature_enters_every_imagined_step():
    """Hot minus cold is the entropy: discounted, at the next state and after each model step."""
    batch, world = make_batch(), make_world(tagged_model(0.5))
    values = []
    for temperature in (2.0, 1e-30):
        hot = make_agent(
            actor={"initial_temperature": temperature}, target="expansion", target_horizon=1
        )
        noise = draw(hot, world, batch)
        values.append(hot.regression(world, batch, noise).target.value)
    first = hot.policy.sample(batch.next_state, noise.target.action[0][:, 0])
    second = hot.policy.sample(batch.next_state + 0.5, noise.target.terminal[:, 0, :, 0])
    entropy = -(first.log_prob + 0.5 * second.log_prob)
    expected = 0.5 * (1 - batch.terminated) * 2.0 * entropy
    torch.testing.assert_close(values[0] - values[1], expected)


PATH = {"horizon": 2, "terminal_samples": 3}


def test_the_path_target_follows_the_actors_own_rollout():
    """Its states, its actions, and what the rewards and the smaller critic add up to from each."""
    agent = make_agent(actor={**COLD, **PATH}, target="path")
    constant_critics(agent, 5.0, 3.0)
    batch, world = make_batch(), make_world(tagged_model(10.0))
    noise = draw(agent, world, batch)
    found = agent.regression(world, batch, noise)
    followed = rollout(
        world.problem(world.dynamics, agent.targets), agent.policy, batch.state, noise.actor
    )
    start = batch.state[..., 0]
    second = start + 20.0 + 0.5 * 3.0
    torch.testing.assert_close(
        found.target.value, torch.cat([start + 10.0 + 0.5 * second, second], -1)
    )
    torch.testing.assert_close(found.state, torch.cat([batch.state, batch.state + 10.0], dim=1))
    torch.testing.assert_close(found.action, torch.cat([a.value for a in followed.actions], dim=1))
    assert not found.target.value.requires_grad
    assert not found.action.requires_grad


def test_the_path_target_closes_with_the_mean_over_terminal_actions():
    """With the temperature: each action's entropy, except that of the step's own action."""
    agent = make_agent(actor={"initial_temperature": 2.0, **PATH}, target="path")
    batch, world = make_batch(), make_world(tagged_model(0.5))
    noise = draw(agent, world, batch)
    last = (batch.state + 1.0).unsqueeze(-2)
    action = agent.policy.sample(last, noise.actor.terminal)
    values = agent.targets(last.expand(-1, -1, 3, -1), action.value).mean(dim=-1).amin(dim=0)
    closing = values - 2.0 * action.log_prob.mean(dim=-1)
    between = agent.policy.sample(batch.state + 0.5, noise.actor.action[1]).log_prob
    start = batch.state[..., 0]
    second = start + 1.0 + 0.5 * closing
    first = start + 0.5 + 0.5 * (second - 2.0 * between)
    found = agent.regression(world, batch, noise).target.value
    torch.testing.assert_close(found, torch.cat([first, second], dim=-1))


def test_rows_after_an_imagined_end_do_not_move_the_critics():
    """Every rollout ends with its first step: the second ones are not there."""

    def always(state, action, next_state):
        return torch.ones_like(state[..., 0])

    agent = make_agent(actor={**COLD, **PATH}, target="path")
    batch, world = make_batch(), make_world(tagged_model(10.0))._replace(terminated=always)
    noise = draw(agent, world, batch)
    found = agent.regression(world, batch, noise)
    assert found.alive.tolist() == [[True] * 6 + [False] * 6]
    values = agent.critics(found.state[:, :6], found.action[:, :6])
    errors = values - found.target.value[:, :6]
    loss = 0.5 * errors.square().mean(dim=-1).sum(dim=0)
    step = agent._critic_step(world, batch, noise)
    torch.testing.assert_close(step.loss, loss.detach())
    torch.testing.assert_close(step.value, values.mean(dim=(0, -1)).detach())
    expected = torch.autograd.grad(loss.sum(), list(agent.critics.parameters))
    for part, wanted in zip(step.gradient, expected, strict=True):
        torch.testing.assert_close(part, wanted)


def test_bounded_critics_promise_no_more_than_the_rewards_seen():
    """A target network that says 1000 or -1000 where rewards in [-1, 2] were seen, gamma = 1/2."""
    alpha, batch = 0.1, make_batch()._replace(terminated=torch.zeros(1, 6))
    seen = Interval(torch.tensor([-1.0]), torch.tensor([2.0]))
    entropies = (-M * alpha, M * alpha * math.log(2.0))
    for said, bound in ((1000.0, 2.0 + entropies[1]), (-1000.0, -1.0 + entropies[0])):
        agent = make_agent(actor={"initial_temperature": alpha}, bounded=True)
        constant_critics(agent, said, said)
        world = make_world()._replace(rewards=seen)
        noise = draw(agent, world, batch)
        action = agent.policy.sample(batch.next_state, noise.target.terminal[:, 0, :, 0])
        expected = batch.reward + 0.5 * (2.0 * bound - alpha * action.log_prob)
        torch.testing.assert_close(agent.regression(world, batch, noise).target.value, expected)


def test_steve_weighs_what_the_critics_say_before_it_is_clipped():
    """50 and 30 are far apart, however low the bound on both."""
    seen = Interval(torch.tensor([-1.0]), torch.tensor([1.0]))
    batch, world = make_batch(), make_world(tagged_model(-1.0, 0.0, 1.0))._replace(rewards=seen)
    free, bounded = (
        make_agent(actor=COLD, target="steve", target_horizon=1, bounded=b) for b in (False, True)
    )
    for agent in (free, bounded):
        constant_critics(agent, 50.0, 30.0)
    expected, found = (target_of(agent, world, batch) for agent in (free, bounded))
    torch.testing.assert_close(found.weights, expected.weights)
    assert bool((found.value < expected.value)[batch.terminated == 0].all())


def test_bounds_leave_alone_what_lies_within_them():
    batch = make_batch()
    seen = Interval(torch.tensor([-9.0]), torch.tensor([9.0]))
    world = make_world()._replace(rewards=seen)
    free, bounded = (target_of(make_agent(bounded=b), world, batch) for b in (False, True))
    assert torch.equal(free.value, bounded.value)


def test_no_return_is_below_zero_where_every_reward_is_positive():
    """An episode can end before any more of them."""
    interval = soft_return_interval(
        Interval(torch.tensor(2.0), torch.tensor(3.0)),
        Interval(torch.zeros(()), torch.ones(())),
        0.75,
    )
    assert [float(x) for x in interval] == [0.0, 16.0]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"target": "steve", "target_horizon": 1},
        {"target": "path", "actor": PATH},
        {"bounded": True},
    ],
)
def test_a_constant_reward_is_worth_the_geometric_sum(settings):
    """Q = 1 / (1 - gamma) for a reward of 1 that never ends: 2 for a discount of 1/2."""
    still = {"initial_temperature": 1e-8, "temperature_learning_rate": 0.0}
    agent = make_agent(
        learning_rate=1e-2,
        target_rate=0.1,
        **{**settings, "actor": {**still, **settings.get("actor", {})}},
    )
    world = World(
        tagged_model(0.1, -0.1),
        lambda s, a, s_next: torch.ones_like(s[..., 0]),
        never,
        0.5,
        Interval(torch.zeros(1), torch.ones(1)),
    )
    stream, batch = Streams([0], "update"), make_batch(size=32)
    batch = batch._replace(reward=torch.ones(1, 32), terminated=torch.zeros(1, 32))
    for _ in range(250):
        agent.update(world, batch, agent.draw_noise(stream, world, 32))
    values = agent.critics(batch.state, batch.action).detach()
    assert float(values.mean()) == pytest.approx(2.0, rel=0.03)
    assert float((values - 2.0).abs().max()) < 0.3


def test_the_smaller_critic_is_taken_member_by_member():
    """Critics s and -s at the ends of two members, 2 and -1 from s' = 0: -2 and -1, not 0.5."""
    agent = make_agent(actor=COLD, target="expansion", target_horizon=1)
    agent.targets = lambda state, action: torch.stack([state[..., 0], -state[..., 0]])
    batch = make_batch()
    batch = batch._replace(next_state=torch.zeros_like(batch.next_state))
    target = target_of(agent, make_world(tagged_model(2.0, -1.0)), batch)
    after = (2.0 - 1.0) / 2 + 0.5 * (-2.0 - 1.0) / 2  # rewards, then the discounted minimum
    torch.testing.assert_close(target.value, batch.reward + 0.5 * (1 - batch.terminated) * after)


def test_steve_weighs_every_transition_for_itself():
    """What is elsewhere in the batch does not change a target."""
    agent = make_agent(actor=COLD, target="steve", target_horizon=2)
    batch, world = make_batch(), make_world(tagged_model(1.0, -2.0))
    batch = batch._replace(terminated=torch.zeros_like(batch.terminated))
    noise = draw(agent, world, batch)
    expected = agent.regression(world, batch, noise).target.value
    wide = batch._replace(next_state=batch.next_state * torch.tensor([1.0] + 5 * [20.0])[:, None])
    found = agent.regression(world, wide, noise).target.value
    torch.testing.assert_close(found[:, 0], expected[:, 0])
    assert not torch.isclose(found[:, 1:], expected[:, 1:]).any()


def test_every_seed_is_bounded_by_the_rewards_it_has_seen():
    seeds = (0, 1)
    agent = make_agent(seeds, actor=COLD, bounded=True)
    fill_(agent.targets.parameters, 0.0)
    agent.targets.net.biases[-1].fill_(1000.0)
    batch = make_batch(seeds)
    seen = Interval(torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 5.0]))
    world = make_world()._replace(rewards=seen)
    target = agent.regression(world, batch, draw(agent, world, batch, seeds)).target.value
    highest = torch.tensor([[2.0], [10.0]])
    torch.testing.assert_close(target, batch.reward + 0.5 * (1 - batch.terminated) * highest)


@pytest.mark.parametrize("said", [1000.0, -1000.0])
def test_the_path_target_closes_within_the_bounds_before_the_entropy(said):
    actor = {"horizon": 2, "initial_temperature": 0.3}
    agent, batch = make_agent(actor=actor, target="path", bounded=True), make_batch()
    constant_critics(agent, said, said)
    seen = Interval(torch.tensor([-1.0]), torch.tensor([2.0]))
    world = make_world(tagged_model(0.0))._replace(rewards=seen)
    noise = draw(agent, world, batch)
    low, high = agent._value_interval(world)
    # The model stands still, so the last step pays s and is followed by the terminal action.
    log_prob = agent.policy.sample(batch.state, noise.actor.terminal[..., 0, :]).log_prob
    closing = (high if said > 0 else low) - 0.3 * log_prob
    target = agent.regression(world, batch, noise).target.value
    torch.testing.assert_close(target[:, 6:], batch.state[..., 0] + 0.5 * closing)


def test_an_end_is_worth_nothing_more_where_every_reward_is_negative():
    rewards = Interval(torch.tensor(-2.0), torch.tensor(-1.0))
    none = Interval(torch.tensor(0.0), torch.tensor(0.0))
    assert [float(x) for x in soft_return_interval(rewards, none, 0.5)] == [-4.0, 0.0]
