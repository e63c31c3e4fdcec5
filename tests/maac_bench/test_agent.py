"""The update: which numbers it descends, and which parameters it moves."""

import pytest
import torch

from maac_bench.objectives.pathwise import actor_objective
from maac_bench.types import Interval, Problem, Transition
from tests.maac_bench.agents import M, draw, make_agent, make_batch, make_world, tagged_model
from tests.maac_bench.trainers import fill_

MAAC = {"horizon": 2, "terminal_samples": 2, "entropy": "path"}
STILL = 1e-30
"""A learning rate too small to move anything."""


def copies(parameters):
    return [parameter.detach().clone() for parameter in parameters]


def unmoved(parameters, before):
    return all(torch.equal(p, q) for p, q in zip(parameters, before, strict=True))


def first_adam_step(parameters, loss, rate):
    """Where Adam's first step takes the parameters."""
    gradients = torch.autograd.grad(loss, parameters)
    return [p - rate * g / (g.abs() + 1e-8) for p, g in zip(parameters, gradients, strict=True)]


def update(agent, world, batch, seeds=(0,), purpose="noise"):
    return agent.update(world, batch, draw(agent, world, batch, seeds, purpose))


@pytest.mark.usefixtures("float64")
def test_at_horizon_zero_the_actor_loss_is_sacs():
    """E[alpha log pi - min_j Q_j] with one reparameterised action."""
    agent, batch, world = make_agent(), make_batch(), make_world()
    noise = draw(agent, world, batch).actor
    action = agent.policy.sample(batch.state, noise.terminal[..., 0, :])
    smaller = agent.critics(batch.state, action.value).amin(dim=0)
    expected = (agent.temperature * action.log_prob - smaller).mean(dim=-1)
    loss = agent.actor_loss(agent.actor_terms(world, batch.state, noise))
    torch.testing.assert_close(loss, expected)
    for mine, theirs in zip(
        torch.autograd.grad(loss.sum(), agent.policy.parameters, retain_graph=True),
        torch.autograd.grad(expected.sum(), agent.policy.parameters),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.usefixtures("float64")
def test_the_actor_sees_the_critics_as_they_are_now():
    agent, batch, world = make_agent(learning_rate=0.1), make_batch(), make_world()
    update(agent, world, batch)
    noise = draw(agent, world, batch).actor
    terms = agent.actor_terms(world, batch.state, noise)
    action = agent.policy.sample(batch.state, noise.terminal[..., 0, :])
    smaller = agent.critics(batch.state, action.value).amin(dim=0)
    torch.testing.assert_close(terms.value, smaller)


@pytest.mark.usefixtures("float64")
def test_the_actor_loss_is_the_scored_objective_in_both_scopes_of_entropy():
    batch, world, losses = make_batch(), make_world(tagged_model(1.0, -2.0)), {}
    for scope in ("first", "path"):
        agent = make_agent(actor={**MAAC, "entropy": scope})
        noise = draw(agent, world, batch).actor
        problem = Problem(world.model, world.reward, world.terminated, agent.critics, 0.5)
        value = actor_objective(
            problem, agent.policy, batch.state, noise, agent.temperature.unsqueeze(-1), scope
        )
        losses[scope] = agent.actor_loss(agent.actor_terms(world, batch.state, noise))
        torch.testing.assert_close(losses[scope], -value.mean(dim=-1))
    assert not torch.isclose(losses["first"], losses["path"])


@pytest.mark.usefixtures("float64")
def test_the_actor_steps_down_its_loss_and_leaves_critics_and_model_alone():
    agent = make_agent(actor={**MAAC, "learning_rate": 0.01}, learning_rate=STILL)
    batch, model = make_batch(), tagged_model(1.0, -2.0)
    world = make_world(model)
    critics, fixed, temperature = (
        copies(agent.critics.parameters),
        copies(model.parameters),
        agent.temperature,
    )
    noise = draw(agent, world, batch)
    loss = agent.actor_loss(agent.actor_terms(world, batch.state, noise.actor)).sum()
    expected = first_adam_step(agent.policy.parameters, loss, 0.01)
    info = agent.update(world, batch, noise)
    for parameter, goal in zip(agent.policy.parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), goal.detach())
    assert unmoved(agent.critics.parameters, critics)
    assert unmoved(model.parameters, fixed)
    assert float(info["actor_loss"]) == pytest.approx(loss.item())
    assert not torch.equal(agent.temperature, temperature)


@pytest.mark.usefixtures("float64")
def test_the_critics_step_down_half_the_squared_error_and_leave_the_actor_alone():
    rate = {"learning_rate": STILL, "temperature_learning_rate": 0.0}
    agent = make_agent(actor={**MAAC, **rate}, target="steve", learning_rate=0.01)
    batch, model = make_batch(), tagged_model(1.0, -2.0)
    world = make_world(model)
    policy, temperature, fixed = (
        copies(agent.policy.parameters),
        agent.temperature,
        copies(model.parameters),
    )
    noise = draw(agent, world, batch)
    target = agent.regression(world, batch, noise).target.value
    errors = agent.critics(batch.state, batch.action) - target
    expected = first_adam_step(
        agent.critics.parameters, 0.5 * errors.square().mean(dim=-1).sum(), 0.01
    )
    agent.update(world, batch, noise)
    for parameter, goal in zip(agent.critics.parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), goal.detach())
    assert unmoved(agent.policy.parameters, policy)
    assert torch.equal(agent.temperature, temperature)
    assert unmoved(model.parameters, fixed)


@pytest.mark.usefixtures("float64")
def test_the_unit_of_the_critics_multiplies_what_they_and_their_targets_say():
    small, large = make_agent(), make_agent(unit=50.0)
    batch = make_batch()
    for name in ("critics", "targets"):
        one, other = (getattr(agent, name)(batch.state, batch.action) for agent in (small, large))
        torch.testing.assert_close(other, 50.0 * one)


@pytest.mark.usefixtures("float64")
def test_square_root_critics_are_fitted_to_the_root_of_the_same_target():
    agent = make_agent(transform="sqrt", unit=3.0, learning_rate=0.01)
    batch, world = make_batch(), make_world(tagged_model(1.0, -2.0))
    noise = draw(agent, world, batch)
    target = agent.regression(world, batch, noise).target.value
    scaled = target / 3.0
    goal = 3.0 * scaled.sign() * ((1.0 + scaled.abs()).sqrt() - 1.0)
    linear = agent.critics._replace(transform="identity")
    errors = linear(batch.state, batch.action) - goal
    loss = 0.5 * errors.square().mean(dim=-1).sum(dim=0)
    expected = first_adam_step(agent.critics.parameters, loss.sum(), 0.01)
    value = agent.critics(batch.state, batch.action).mean(dim=(0, 2))
    info = agent.update(world, batch, noise)
    for parameter, goal in zip(agent.critics.parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), goal.detach())
    torch.testing.assert_close(info["critic_loss"], loss.detach())
    torch.testing.assert_close(info["value"], value.detach())


def test_target_networks_follow_at_the_polyak_rate():
    agent, batch, world = make_agent(target_rate=0.1), make_batch(), make_world()
    for _ in range(2):
        before = copies(agent.targets.parameters)
        update(agent, world, batch)
        for target, old, critic in zip(
            agent.targets.parameters, before, agent.critics.parameters, strict=True
        ):
            torch.testing.assert_close(target, 0.9 * old + 0.1 * critic.detach())
            assert not torch.equal(target, old)


@pytest.mark.parametrize(("goal", "falls"), [(-100.0, True), (100.0, False)])
def test_the_temperature_falls_above_the_target_entropy_and_rises_below(goal, falls):
    agent, batch, world = make_agent(actor={"target_entropy": goal}), make_batch(), make_world()
    before = agent.temperature
    info = update(agent, world, batch)
    assert bool(agent.temperature < before) is falls
    assert torch.equal(info["temperature"], agent.temperature)


@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_the_target_entropy_counts_per_action_dimension(shift):
    """Just above or below the entropy there is: the temperature falls only in one of the two."""
    batch, world = make_batch(), make_world()
    entropy = float(update(make_agent(), world, batch)["entropy"])
    agent = make_agent(actor={"target_entropy": (entropy + shift) / M})
    update(agent, world, batch)
    assert bool(agent.temperature > 1.0) is (shift > 0)


def test_a_seed_learns_the_same_alone_and_in_a_stack():
    batch, model = make_batch((0, 1)), tagged_model(1.0, -2.0, seeds=2)
    half = Transition(*(field[1:] for field in batch))
    alone_model = tagged_model(1.0, -2.0)
    rates = {"learning_rate": 1e-2}
    both, alone = (
        make_agent(seeds, actor={**MAAC, **rates}, target="steve", **rates)
        for seeds in ((0, 1), (1,))
    )
    for k in range(5):
        many = update(both, make_world(model), batch, (0, 1), f"update {k}")
        one = update(alone, make_world(alone_model), half, (1,), f"update {k}")
        assert many.keys() == one.keys()
        for name in many:
            torch.testing.assert_close(many[name][1:], one[name], rtol=1e-4, atol=1e-5)
        assert many["actor_loss"][0] != many["actor_loss"][1]
    for p, q in zip(both.policy.parameters, alone.policy.parameters, strict=True):
        torch.testing.assert_close(p[1:], q, rtol=1e-4, atol=1e-5)


def test_a_broken_seed_leaves_the_other_alone():
    batch, model = make_batch((0, 1)), tagged_model(1.0, -2.0, seeds=2)
    agents = [make_agent((0, 1), actor=MAAC, target="steve") for _ in range(2)]
    fill_([p[0] for p in agents[0].policy.parameters], float("nan"))
    for agent in agents:
        for _ in range(3):
            info = update(agent, make_world(model), batch, (0, 1))
    assert torch.isnan(info["actor_loss"]).tolist() == [False, False]
    for broken, whole in zip(
        agents[0].critics.parameters, agents[1].critics.parameters, strict=True
    ):
        assert torch.equal(broken[1], whole[1])
        assert torch.isnan(broken[0]).any()


def parts_of(agent):
    return (*agent.policy.parameters, *agent.critics.parameters, agent.log_temperature)


@pytest.mark.usefixtures("float64")
def test_each_part_moves_at_its_own_rate():
    """Adam's first step has the length of the rate, in every entry with a gradient."""
    rates = {"learning_rate": 1e-2, "temperature_learning_rate": 3e-4}
    agent, batch, world = make_agent(actor=rates, learning_rate=1e-3), make_batch(), make_world()
    before = copies(parts_of(agent))
    update(agent, world, batch)
    moved = [(p.detach() - q).abs().max() for p, q in zip(parts_of(agent), before, strict=True)]
    policy, critics = len(agent.policy.parameters), len(agent.critics.parameters)
    assert max(moved[:policy]) == pytest.approx(1e-2, rel=1e-3)
    assert max(moved[policy : policy + critics]) == pytest.approx(1e-3, rel=1e-3)
    assert moved[-1] == pytest.approx(3e-4, rel=1e-3)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("horizon", [0, 2])
def test_the_temperature_follows_the_first_actions_entropy(horizon):
    """Whichever actions the bonus counts; at alpha = 0.7."""
    actor = {**MAAC, "horizon": horizon, "initial_temperature": 0.7, "target_entropy": -1.5}
    agent, batch, world = make_agent(actor=actor), make_batch(), make_world(tagged_model(1.0, -2.0))
    noise = draw(agent, world, batch).actor
    if horizon:
        log_prob = agent.policy.sample(batch.state, noise.action[0]).log_prob
    else:
        once = batch.state.unsqueeze(-2)
        log_prob = agent.policy.sample(once, noise.terminal).log_prob.mean(dim=-1)
    step = agent._actor_step(world, batch.state, noise)
    expected = -0.7 * (log_prob.mean(dim=-1) - 1.5 * M)
    torch.testing.assert_close(step.of_temperature, expected.detach())
    torch.testing.assert_close(step.entropy, -log_prob.mean(dim=-1).detach())


@pytest.mark.usefixtures("float64")
def test_the_actor_climbs_the_critics_after_their_step():
    rates = {"actor": {**MAAC, "learning_rate": 0.01}, "learning_rate": 0.1}
    agent, ahead = make_agent(**rates), make_agent(**rates)
    batch, world = make_batch(), make_world(tagged_model(1.0, -2.0))
    noise = draw(agent, world, batch)
    gradient = ahead._critic_step(world, batch, noise).gradient
    with torch.no_grad():
        for parameter, g in zip(ahead.critics.parameters, gradient, strict=True):
            parameter -= 0.1 * g / (g.abs() + 1e-8)
    uphill = ahead._actor_step(world, batch.state, noise.actor).gradient
    agent.update(world, batch, noise)
    for mine, start, g in zip(
        agent.policy.parameters, ahead.policy.parameters, uphill, strict=True
    ):
        torch.testing.assert_close(mine, start - 0.01 * g / (g.abs() + 1e-8))


def test_target_networks_begin_as_the_critics_and_are_their_own():
    agent = make_agent()
    for target, critic in zip(agent.targets.parameters, agent.critics.parameters, strict=True):
        assert torch.equal(target, critic)
        assert target.data_ptr() != critic.data_ptr()


def test_nets_are_built_as_configured():
    agent = make_agent(
        actor={"activation": "tanh", "layer_norm": True}, activation="swish", layer_norm=True
    )
    assert (agent.policy.net.activation, agent.policy.net.layer_norm) == ("tanh", True)
    assert (agent.critics.net.activation, agent.critics.net.layer_norm) == ("swish", True)
    plain = make_agent(actor={"activation": "swish"}, activation="tanh")
    assert (plain.policy.net.activation, plain.policy.net.layer_norm) == ("swish", False)
    assert (plain.critics.net.activation, plain.critics.net.layer_norm) == ("tanh", False)


@pytest.mark.usefixtures("float64")
def test_what_is_logged_of_the_weights_is_theirs_by_horizon():
    agent, batch = make_agent(actor=MAAC, target="steve"), make_batch()
    world = make_world(tagged_model(1.0, -20.0))
    noise = draw(agent, world, batch)
    weights = agent.regression(world, batch, noise).target.weights
    info = agent.update(world, batch, noise)
    assert len({float(weight) for weight in weights}) == len(weights) == 3
    for horizon, weight in enumerate(weights):
        assert torch.equal(info[f"target_weight_{horizon}"], weight)


@pytest.mark.usefixtures("float64")
def test_a_positive_target_entropy_does_not_raise_the_lowest_value():
    """Entropy can always be lower: a bound that assumed the target would cut values off."""
    agent = make_agent(actor={"target_entropy": 1.0}, bounded=True)
    seen = Interval(torch.tensor([-3.0]), torch.tensor([2.0]))
    assert float(agent._value_interval(make_world()._replace(rewards=seen)).low) == -6.0
