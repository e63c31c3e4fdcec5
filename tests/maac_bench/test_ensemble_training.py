"""Training members side by side: whose gradient is whose, and who may leave."""

import pytest
import torch

from maac_bench.ensemble_training import Trainees, likelihood_gradient
from maac_bench.fusion import fuse
from maac_bench.model_fitting import ModelConfig, dynamics_pairs, new_ensemble
from maac_bench.streams import Streams
from tests.maac_bench.problems import lqg_data

MODEL = ModelConfig(members=3, hidden=(16,))


def test_the_likelihood_s_gradient_is_that_of_every_member_alone():
    torch.manual_seed(0)
    pairs = dynamics_pairs(lqg_data([0, 1], count=40)[1])
    ensemble = new_ensemble(pairs, MODEL, Streams([0, 1], "init"))
    leaves = ensemble.replace([p.detach().requires_grad_() for p in ensemble.parameters])
    inputs, outputs = pairs.inputs.shape[-1], pairs.targets.shape[-1]
    rows = torch.randn(2, 3, 7, inputs + outputs)
    found = likelihood_gradient(leaves, rows)
    for seed in (0, 1):
        for member in range(3):
            mean, log_var = leaves.moments(rows[..., :inputs])
            normal = torch.distributions.Normal(
                mean[seed, member], (0.5 * log_var[seed, member]).exp()
            )
            loss = -normal.log_prob(rows[seed, member, :, inputs:]).mean()
            expected = torch.autograd.grad(loss, leaves.parameters)
            for own, of_all in zip(expected, found, strict=True):
                torch.testing.assert_close(of_all[seed, member], own[seed, member])


def test_the_likelihood_s_gradient_can_be_one_program(monkeypatch):
    """Traced only: what may fail comes before code is made, which takes long."""
    compile_ = torch.compile

    def trace(function, fullgraph, dynamic, options):
        return compile_(function, fullgraph=fullgraph, dynamic=dynamic, backend="eager")

    monkeypatch.setattr(torch, "compile", trace)
    pairs = dynamics_pairs(lqg_data([0], count=20)[1])
    ensemble = new_ensemble(pairs, MODEL, Streams([0], "init"))
    leaves = ensemble.replace([p.detach().requires_grad_() for p in ensemble.parameters])
    width = pairs.inputs.shape[-1] + pairs.targets.shape[-1]
    rows = Streams([0], "rows").normal(3, 7, width)
    found = fuse(likelihood_gradient, rows.device)(leaves, rows)
    for fused, plain in zip(found, likelihood_gradient(leaves, rows), strict=True):
        torch.testing.assert_close(fused, plain)


@pytest.fixture
def trained():
    """Two seeds' members in training, in float64, and batches for them."""
    pairs = dynamics_pairs(lqg_data([0, 1], count=60)[1])
    ensemble = new_ensemble(pairs, MODEL, Streams([0, 1], "init"))
    table = torch.cat([pairs.inputs, ensemble.targets(pairs.targets)], dim=-1)
    batches = Streams(range(6), "rows").integers(60, 4, 16).unbind(dim=1)
    return ensemble, table, batches


def after(ensemble, table, batches):
    trainees = Trainees(ensemble, 1e-2)
    for index in batches:
        trainees.learn(likelihood_gradient, table, index)
    return trainees


def test_members_learn_from_their_seed_s_rows(trained):
    """As each does alone with a plain optimiser."""
    ensemble, table, batches = trained
    found = after(ensemble, table, batches)
    assert found.members.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.seeds.tolist() == [0, 0, 0, 1, 1, 1]
    for k in range(6):
        seed, member = divmod(k, 3)
        parameters = [p.detach().clone().requires_grad_() for p in ensemble.parameters]
        adam = torch.optim.Adam(parameters, lr=1e-2)
        for index in batches:
            rows = table[seed, index[k]].expand(2, 3, -1, -1)
            adam.zero_grad()
            for p, g in zip(
                parameters, likelihood_gradient(ensemble.replace(parameters), rows), strict=True
            ):
                p.grad = g
            adam.step()
        for alone, of_all in zip(parameters, found.parameters, strict=True):
            torch.testing.assert_close(of_all[k, 0], alone[seed, member])
    # What they started from is as it was.
    again = after(ensemble, table, batches)
    assert all(map(torch.equal, again.parameters, found.parameters))


def test_those_who_stay_learn_on_as_if_nobody_had_left(trained):
    ensemble, table, batches = trained
    all_along = after(ensemble, table, batches)
    some = after(ensemble, table, batches[:2])
    assert some.complete
    some.keep(torch.tensor([False, True, False, True, True, False]))
    assert not some.complete
    some.learn(likelihood_gradient, table, batches[2][[1, 3, 4]])
    some.keep(torch.tensor([True, False, True]))
    some.learn(likelihood_gradient, table, batches[3][[1, 4]])
    assert some.members.tolist() == [1, 4]
    assert some.seeds.tolist() == [0, 1]
    for fewer, whole in zip(some.parameters, all_along.parameters, strict=True):
        torch.testing.assert_close(fewer, whole[[1, 4]])
    for fewer, whole in zip(some.validate(table), all_along.validate(table), strict=True):
        torch.testing.assert_close(fewer, whole[[1, 4]])


def test_validation_is_the_mean_over_the_rows_of_the_member_s_seed(trained):
    ensemble, table, _ = trained
    many = table.repeat(1, 20, 1)  # more than are looked at together
    nll, mse = Trainees(ensemble, 1e-2).validate(many)
    n = ensemble.targets.mean.shape[-1]
    mean, log_var = ensemble.moments(table[:, None, :, :-n])
    target = table[:, None, :, -n:]
    normal = torch.distributions.Normal(mean, (0.5 * log_var).exp())
    torch.testing.assert_close(nll, -normal.log_prob(target).mean(dim=(-2, -1)).flatten())
    torch.testing.assert_close(mse, (mean - target).square().mean(dim=(-2, -1)).flatten())
