"""Diagnostics against critics and episodes whose numbers are known."""

import pytest
import torch

from maac_bench.agent import UpdateNoise
from maac_bench.diagnostics import (
    Totals,
    agent_columns,
    critic_bias,
    gradient_signal,
    model_columns,
    soft_returns,
)
from maac_bench.evaluation import Record
from maac_bench.model_fitting import ModelReport
from maac_bench.types import RolloutNoise, Transition
from tests.maac_bench.agents import (
    M,
    N,
    draw,
    make_agent,
    make_batch,
    make_record,
    make_world,
    tagged_model,
)
from tests.maac_bench.trainers import fill_

pytestmark = pytest.mark.usefixtures("float64")


def test_soft_returns_are_the_sums_worked_out_by_hand():
    """Seed 0 is cut by the time limit and closes with 10; seed 1 ends itself after two steps."""
    rewards = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 0.0]])
    log_probs = torch.tensor([[9.0, 9.0], [-1.0, -2.0], [-4.0, 7.0]])
    alive = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    record = make_record(
        torch.zeros(4, 2, N),
        torch.zeros(3, 2, M),
        rewards,
        alive,
        torch.tensor([0.0, 1.0]),
        log_probs,
    )
    total = soft_returns(torch.tensor([0.5, 0.25]), 0.9, record, torch.full((3, 2), 10.0))
    second = 2.0 + 0.9 * (10.0 + 0.5 * 4.0)
    first = 1.0 + 0.9 * (second + 0.5 * 1.0)
    assert total[:, 0].tolist() == pytest.approx([first, second, 10.0])
    assert total[:2, 1].tolist() == pytest.approx([1.0 + 0.9 * (2.0 + 0.25 * 2.0), 2.0])


def constant_critic(*values: float):
    """A cold agent whose critics say these numbers everywhere."""
    agent = make_agent(actor={"initial_temperature": 1e-30})
    fill_(agent.critics.parameters, 0.0)
    with torch.no_grad():
        agent.critics.net.biases[-1].copy_(torch.tensor(values).reshape(1, -1, 1))
    return agent


def paid(steps: int = 20, terminated: float = 0.0) -> Record:
    """An episode that pays 1 a step."""
    states = torch.randn(steps + 1, 1, N)
    one = torch.ones(steps, 1)
    return make_record(states, torch.randn(steps, 1, M), one, terminated=torch.tensor([terminated]))


def test_an_exact_critic_has_no_bias():
    """Reward 1 for ever is worth 2 at a discount of 1/2; the smaller critic counts."""
    bias, truth = critic_bias(constant_critic(2.0, 7.0), make_world(), paid())
    assert bias.tolist() == pytest.approx([0.0], abs=1e-12)
    assert truth.tolist() == pytest.approx([2.0])


def test_a_critic_that_is_three_too_high_is_found_out():
    """Of its own error only 2^-k is left in a return that it closes k steps later."""
    bias, _ = critic_bias(constant_critic(5.0, 5.0), make_world(), paid())
    expected = sum(3.0 * (1.0 - 0.5 ** (19 - t)) for t in range(10)) / 10
    assert bias.tolist() == pytest.approx([expected])


def test_an_episode_that_ends_itself_is_worth_what_it_paid():
    bias, truth = critic_bias(constant_critic(2.0, 2.0), make_world(), paid(4, terminated=1.0))
    assert truth.tolist() == pytest.approx([(1.875 + 1.75) / 2])
    assert bias.tolist() == pytest.approx([2.0 - (1.875 + 1.75) / 2])


def doubled(batch: Transition, noise: UpdateNoise) -> tuple[Transition, UpdateNoise]:
    twice = Transition(*(torch.cat([field, field], dim=1) for field in batch))
    actor = RolloutNoise((), (), torch.cat([noise.actor.terminal] * 2, dim=1))
    return twice, noise._replace(actor=actor)


def test_equal_halves_agree_perfectly():
    agent, batch, world = make_agent((0, 1)), make_batch((0, 1)), make_world()
    noise = draw(agent, world, batch, (0, 1))
    norm, cosine = gradient_signal(agent, world, *doubled(batch, noise))
    torch.testing.assert_close(cosine, torch.ones(2))
    loss = agent.actor_loss(agent.actor_terms(world, batch.state, noise.actor)).sum()
    gradient = torch.autograd.grad(loss, agent.policy.parameters)
    expected = sum(g.flatten(1).square().sum(dim=1) for g in gradient).sqrt()
    torch.testing.assert_close(norm, expected)


def test_halves_that_differ_are_compared_with_each_other():
    agent, batch, world = make_agent(), make_batch(), make_world()
    noise = draw(agent, world, batch)
    terms = agent.actor_terms(world, batch.state, noise.actor)
    flat = []
    for half in (slice(0, 3), slice(3, 6)):
        loss = -(terms.value + agent.temperature * terms.entropy)[:, half].mean()
        parts = torch.autograd.grad(loss, agent.policy.parameters, retain_graph=True)
        flat.append(torch.cat([part.flatten() for part in parts]))
    norm, cosine = gradient_signal(agent, world, batch, noise)
    torch.testing.assert_close(cosine[0], torch.cosine_similarity(*flat, dim=0))
    torch.testing.assert_close(norm[0], (0.5 * sum(flat)).norm())


def test_a_warm_agents_signal_is_that_of_its_loss():
    """The entropy bonus has its share of the gradient."""
    batch, world = make_batch(), make_world()
    signals = []
    for temperature in (1e-30, 2.0):
        agent = make_agent(actor={"initial_temperature": temperature})
        noise = draw(agent, world, batch)
        signals.append(gradient_signal(agent, world, *doubled(batch, noise))[0])
        loss = agent.actor_loss(agent.actor_terms(world, batch.state, noise.actor)).sum()
        gradient = torch.autograd.grad(loss, agent.policy.parameters)
        torch.testing.assert_close(
            signals[-1][0], torch.cat([g.flatten() for g in gradient]).norm()
        )
    assert not torch.isclose(*signals)


def test_columns_say_what_they_are_called():
    """By name, on an episode that pays 1 a step where a critic says 5: 3 too much."""
    agent, world, batch = constant_critic(5.0, 7.0), make_world(), make_batch()
    episode, noise = paid(40), draw(agent, make_world(), make_batch())
    columns = agent_columns(agent, world, episode, batch, noise)
    bias, truth = critic_bias(agent, world, episode)
    assert columns["sampled_return"].tolist() == [40.0]
    assert columns["critic_bias"].tolist() == bias.tolist() == pytest.approx([3.0], abs=1e-4)
    assert columns["soft_return"].tolist() == truth.tolist() == pytest.approx([2.0], abs=1e-4)
    norm, cosine = gradient_signal(agent, world, batch, noise)
    assert torch.equal(columns["actor_gradient_norm"], norm)
    assert torch.equal(columns["actor_gradient_cosine"], cosine)


def test_columns_of_fits_are_by_member():
    nll, mse = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
    fit = ModelReport(nll, mse, torch.tensor([[5, 8]]))
    columns = model_columns(tagged_model(1.0, 2.0), {"model": fit, "outcome": fit}, paid())
    for name in ("model", "outcome"):
        assert [float(columns[f"{name}_nll_{k}"]) for k in (0, 1)] == [1.0, 2.0]
        assert [float(columns[f"{name}_mse_{k}"]) for k in (0, 1)] == [3.0, 4.0]
        assert float(columns[f"{name}_epochs"]) == 6.5
    assert model_columns(None, {"model": fit}, paid()) == {}


def test_totals_are_means_over_updates():
    totals = Totals()
    assert totals.mean() == {}
    for value in (1.0, 3.0, 8.0):
        totals.add({"loss": torch.tensor([value, 0.0])})
    assert totals.mean()["loss"].tolist() == [4.0, 0.0]
