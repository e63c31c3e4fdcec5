"""How ensembles are fitted, part by part: early stopping, bootstraps, held-out rows, refits."""

import math
from dataclasses import replace

import pytest
import torch

from maac_bench import model_fitting
from maac_bench.fusion import fuse
from maac_bench.model_fitting import (
    ModelConfig,
    Pairs,
    _Best,
    _validate,
    dynamics_pairs,
    fit_model,
    held_out_rows,
    likelihood_gradient,
    new_ensemble,
    refit_model,
)
from maac_bench.objectives.likelihood import gaussian_nll
from maac_bench.streams import Streams
from maac_bench.types import Transition
from tests.maac_bench.problems import lqg_data, streams

MODEL = ModelConfig(members=3, hidden=(16,), max_epochs=30, patience=4, batch_size=128)


def losses(*series):
    """One seed and one member per series; the parameters of epoch k are k everywhere."""
    best = _Best(
        ModelConfig(members=len(series), patience=2, min_improvement=0.1),
        (1, len(series)),
        [torch.full((1, len(series), 3), -1.0)],
    )
    for epoch, nll in enumerate(zip(*series, strict=True)):
        values = torch.tensor([nll])
        parameters = [torch.full((1, len(series), 3), float(epoch))]
        if best.update(values, 10.0 + values, parameters, epoch):
            return best, epoch + 1
    return best, None


@pytest.mark.parametrize(
    ("series", "kept", "epochs"),
    [
        ((3.0, 2.0, 1.0, 0.5), 0.5, 4),
        ((3.0, 2.0, 2.5, 2.5, 0.0), 2.0, 2),  # the last one comes after its patience
        ((3.0, 2.0, 2.5, 1.0), 1.0, 4),  # within it
        ((3.0, 2.95, 2.91), 3.0, 1),  # improvements that are too small to count
        ((3.0, 2.95, 2.85), 2.85, 3),  # but for both together
    ],
)
def test_a_member_keeps_what_was_best_before_its_patience_ended(series, kept, epochs):
    best, _ = losses(series)
    report = best.report
    assert report.validation_nll.item() == pytest.approx(kept)
    assert report.validation_mse.item() == pytest.approx(10.0 + kept)
    assert report.epochs.item() == epochs
    assert best.parameters[0].unique().tolist() == [epochs - 1]


def test_the_search_ends_when_the_last_member_has_run_out_of_patience():
    patient = (3.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0)
    early = (1.0,) * 7
    assert losses(early)[1] == 3
    assert losses(patient)[1] == 6
    best, ended = losses(early, patient)
    assert ended == 6
    assert best.report.epochs.tolist() == [[1, 4]]
    assert best.parameters[0][0, :, 0].tolist() == [0.0, 3.0]
    # What a member has after its patience does not count, though others go on.
    best, _ = losses((1.0, 1.0, 1.0, 0.0), (4.0, 3.0, 2.0, 1.0))
    assert best.report.validation_nll.tolist() == [[1.0, 1.0]]


def test_a_loss_that_is_not_finite_is_no_improvement_and_is_reported():
    nan = math.nan
    best, _ = losses((3.0, nan, 2.0), (3.0, 2.5, 2.0), (1.0, 1.0, 1.0))
    assert best.report.validation_nll.tolist() == [[math.inf, 2.0, 1.0]]
    assert best.parameters[0][0, :, 0].tolist() == [2.0, 2.0, 0.0]
    assert "at epoch 1 (stack index, member) = [0, 0]" in best.broken
    # Whatever comes after a member's patience is not looked at.
    best, _ = losses((1.0, 1.0, 1.0, nan), (4.0, 3.0, 2.0, 1.0))
    assert best.report.validation_nll.tolist() == [[1.0, 1.0]]
    assert best.broken is None


@pytest.fixture
def seen(monkeypatch):
    """What model fitting is given to train and to validate on."""
    record = {"held": [], "batches": []}

    def validate(ensemble, held):
        record["held"].append(held)
        return _validate(ensemble, held)

    def nll(mean, log_var, target):
        if target.requires_grad or mean.requires_grad:
            record["batches"].append(target.detach())
        return gaussian_nll(mean, log_var, target)

    monkeypatch.setattr(model_fitting, "_validate", validate)
    monkeypatch.setattr(model_fitting, "gaussian_nll", nll)
    return record


def numbered(count, seeds=1):
    """Transitions whose change of state is their number, near enough."""
    number = torch.arange(count, dtype=torch.get_default_dtype()).expand(seeds, -1)
    state = torch.zeros(seeds, count, 1)
    action = Streams(range(seeds), "action").normal(count, 1)
    nothing = torch.zeros(seeds, count)
    return Transition(state, action, nothing, number.unsqueeze(-1), nothing)


def numbers(ensemble, targets):
    """Which rows these standardised targets are."""
    return ensemble.targets.inverse(targets.flatten(1)[..., None])[..., 0].round().long()


def test_members_are_trained_on_resamples_of_their_own_and_validated_on_other_rows(seen):
    config = ModelConfig(
        members=2, hidden=(4,), max_epochs=3, patience=5, batch_size=16, validation=0.2
    )
    data, split = numbered(60), Streams([0], "split")
    start = new_ensemble(dynamics_pairs(data), config, Streams([0], "init"))
    refit_model(start, dynamics_pairs(data), config, streams([0]), split)
    held, train = held_out_rows(60, 0.2, Streams([0], "split"))
    for rows in seen["held"]:
        assert torch.equal(numbers(start, rows[..., -1]), held)
    per_epoch = len(seen["batches"]) // 3
    assert per_epoch == 3  # 48 rows, 16 at a time
    assert all(batch.shape[2] <= 16 for batch in seen["batches"])
    epochs = [
        torch.cat(seen["batches"][k * per_epoch : (k + 1) * per_epoch], dim=2)[0, ..., 0]
        for k in range(3)
    ]
    drawn = [[numbers(start, member[None])[0].tolist() for member in epoch] for epoch in epochs]
    for member in (0, 1):
        resample = sorted(drawn[0][member])
        assert set(resample) <= set(train[0].tolist())
        assert 20 < len(set(resample)) < 42, "drawn with replacement"
        for later in drawn[1:]:
            assert sorted(later[member]) == resample, "the same rows in every epoch"
            assert later[member] != drawn[0][member], "in another order"
    assert sorted(drawn[0][0]) != sorted(drawn[0][1])


def test_full_batches_alone_go_through_the_gradient_that_is_given(seen):
    """A compiled one is made for one size."""
    config = ModelConfig(members=2, hidden=(4,), max_epochs=3, patience=5, batch_size=16)
    pairs, batches = dynamics_pairs(numbered(50)), []
    start = new_ensemble(pairs, config, Streams([0], "init"))

    def spy(ensemble, rows):
        batches.append(rows)
        return tuple(10.0 * g for g in likelihood_gradient(ensemble, rows))

    def refit(*gradient):
        return refit_model(start, pairs, config, streams([0]), Streams([0], "split"), *gradient)

    plain, _ = refit()
    assert [batch.shape[2] for batch in seen["batches"]] == 3 * [16, 16, 8]
    other, _ = refit(spy)
    assert [batch.shape[2] for batch in batches] == 3 * [16, 16]
    # Both kinds of gradient move the same parameters.
    assert not torch.equal(plain.parameters[0], other.parameters[0])
    same, _ = refit(likelihood_gradient)
    assert torch.equal(plain.parameters[0], same.parameters[0])


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
    ensemble = new_ensemble(dynamics_pairs(numbered(20)), MODEL, Streams([0], "init"))
    leaves = ensemble.replace([p.detach().requires_grad_() for p in ensemble.parameters])
    rows = Streams([0], "rows").normal(3, 7, 3)
    found = fuse(likelihood_gradient, rows.device)(leaves, rows)
    for fused, plain in zip(found, likelihood_gradient(leaves, rows), strict=True):
        torch.testing.assert_close(fused, plain)


def test_a_first_fit_is_validated_on_rows_that_it_has_not_seen(seen):
    config = ModelConfig(members=2, hidden=(4,), max_epochs=1, validation=0.25)
    data = numbered(40)
    model, _ = fit_model(data, config, streams([0]))
    held = set(numbers(model, seen["held"][0][..., -1])[0].tolist())
    trained = {n for batch in seen["batches"] for n in numbers(model, batch[..., 0])[0].tolist()}
    assert len(held) == 10
    assert not held & trained


def test_a_refit_that_only_makes_worse_leaves_members_as_they_are():
    _, data = lqg_data([0], count=200)
    pairs, split = dynamics_pairs(data), lambda: Streams([0], "split")
    config = replace(MODEL, max_epochs=10)
    first = new_ensemble(pairs, config, Streams([0], "init"))
    fitted, report = refit_model(first, pairs, config, streams([0]), split())
    rash = replace(config, learning_rate=3.0, max_epochs=2)
    again, second = refit_model(fitted, pairs, rash, streams([0]), split())
    assert second.epochs.tolist() == [[0, 0, 0]]
    torch.testing.assert_close(second.validation_nll, report.validation_nll)
    for old, new in zip(fitted.parameters, again.parameters, strict=True):
        assert torch.equal(old, new)
    diverging = replace(config, learning_rate=1e18, max_epochs=2)
    _, third = refit_model(fitted, pairs, diverging, streams([0]), split())
    assert third.validation_nll.tolist() == [[math.inf] * 3]


def test_a_refit_follows_the_scale_of_the_data():
    _, data = lqg_data([0], count=200)
    pairs = dynamics_pairs(data)
    wider = Pairs(3.0 * pairs.inputs + 1.0, 5.0 * pairs.targets - 2.0)
    first = new_ensemble(pairs, MODEL, Streams([0], "init"))
    config = replace(MODEL, max_epochs=1)
    fitted, _ = refit_model(first, wider, config, streams([0]), Streams([0], "split"))
    torch.testing.assert_close(fitted.inputs.mean, wider.inputs.mean(dim=1))
    torch.testing.assert_close(fitted.targets.mean, wider.targets.mean(dim=1))
    torch.testing.assert_close(fitted.inputs.std, 3.0 * first.inputs.std)
    torch.testing.assert_close(fitted.targets.std, 5.0 * first.targets.std)


def test_an_ensemble_is_built_as_configured():
    _, data = lqg_data([0], count=50)
    for activation, layer_norm in (("relu", True), ("tanh", False)):
        config = replace(MODEL, activation=activation, layer_norm=layer_norm)
        net = new_ensemble(dynamics_pairs(data), config, Streams([0], "init")).net
        assert (net.activation, net.layer_norm) == (activation, layer_norm)
