"""How ensembles are fitted, part by part: early stopping, bootstraps, held-out rows, refits."""

import math
from dataclasses import replace

import pytest
import torch

from maac_bench import ensemble_training, model_fitting
from maac_bench.ensemble_training import Trainees, likelihood_gradient
from maac_bench.model_fitting import (
    ModelConfig,
    ModelReport,
    Pairs,
    dynamics_pairs,
    elite_members,
    fit_model,
    held_out_rows,
    new_ensemble,
    refit_model,
)
from maac_bench.objectives.likelihood import gaussian_nll
from maac_bench.streams import Streams
from maac_bench.types import Transition
from tests.maac_bench.agents import tagged_model
from tests.maac_bench.problems import lqg_data, streams

MODEL = ModelConfig(members=3, hidden=(16,), max_epochs=30, patience=4, batch_size=128)
HASTY = replace(MODEL, max_epochs=60, patience=2, learning_rate=1e-2)


@pytest.fixture
def seen(monkeypatch):
    """What model fitting is given to train and to validate on."""
    record, of_trainees = {"held": [], "batches": []}, Trainees.validate

    def validate(trainees, held):
        record["held"].append(held)
        return of_trainees(trainees, held)

    def nll(mean, log_var, target):
        if target.requires_grad or mean.requires_grad:
            record["batches"].append(target.detach())
        return gaussian_nll(mean, log_var, target)

    monkeypatch.setattr(Trainees, "validate", validate)
    monkeypatch.setattr(ensemble_training, "gaussian_nll", nll)
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
    seen["batches"] = [batch.movedim(0, 1) for batch in seen["batches"]]
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


def test_who_has_stopped_is_trained_no_further_and_changes_nobody_s_numbers(monkeypatch):
    _, data = lqg_data([0, 1], count=200)
    sizes = []

    def learn(trainees, *arguments):
        sizes.append(len(trainees.members))
        whole(trainees, *arguments)

    whole = Trainees.learn
    monkeypatch.setattr(Trainees, "learn", learn)
    fitted, report = fit_model(data, HASTY, streams([0, 1]))
    assert sizes[0] == 6
    assert min(sizes) < 4
    assert sizes == sorted(sizes, reverse=True)
    sizes.clear()
    monkeypatch.setattr(model_fitting, "_WORTH_LEAVING", 0.0)
    other, same = fit_model(data, HASTY, streams([0, 1]))
    assert set(sizes) == {6}
    for fewer, all_along in zip(report, same, strict=True):
        torch.testing.assert_close(fewer, all_along)
    for fewer, all_along in zip(fitted.parameters, other.parameters, strict=True):
        torch.testing.assert_close(fewer, all_along)


def test_a_gradient_made_for_all_members_is_not_given_fewer(monkeypatch):
    _, data = lqg_data([0], count=200)
    pairs, stacks = dynamics_pairs(data), []

    def spy(ensemble, rows):
        stacks.append(len(rows))
        return likelihood_gradient(ensemble, rows)

    def learn(trainees, gradient, *arguments):
        sizes.append(len(trainees.members))
        whole(trainees, gradient, *arguments)

    whole, sizes = Trainees.learn, []
    monkeypatch.setattr(Trainees, "learn", learn)
    start = new_ensemble(pairs, HASTY, Streams([0], "init"))
    refit_model(start, pairs, HASTY, streams([0]), Streams([0], "split"), spy)
    assert min(sizes) < 3
    assert set(stacks) == {3}


def test_a_loss_that_is_not_finite_names_its_member(monkeypatch):
    _, data = lqg_data([0, 1], count=100)

    def validate(trainees, held):
        nll, mse = whole(trainees, held)
        return nll.index_fill(0, torch.tensor(4), math.nan), mse

    whole = Trainees.validate
    monkeypatch.setattr(Trainees, "validate", validate)
    with pytest.raises(FloatingPointError, match=r"epoch 0 \(stack index, member\) = \[1, 1\]"):
        fit_model(data, MODEL, streams([0, 1]))


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


@pytest.mark.parametrize(("steps", "passes"), [(1, 1), (3, 2), (4, 2)])
def test_a_refit_takes_no_more_steps_than_it_may_and_validates_the_last(seen, steps, passes):
    _, data = lqg_data([0], count=320)  # 256 rows to train on: two batches a pass
    pairs = dynamics_pairs(data)
    first = new_ensemble(pairs, MODEL, Streams([0], "init"))
    fitted, report = refit_model(
        first, pairs, MODEL, streams([0]), Streams([0], "split"), max_steps=steps
    )
    assert len(seen["batches"]) == steps
    assert len(seen["held"]) == 1 + passes
    assert report.epochs.tolist() == [[passes] * 3]
    assert not torch.equal(fitted.parameters[0], first.parameters[0])


def test_a_refit_that_may_take_more_steps_than_it_needs_is_the_usual_one():
    _, data = lqg_data([0], count=320)
    pairs = dynamics_pairs(data)
    first = new_ensemble(pairs, HASTY, Streams([0], "init"))
    usual, free = (
        refit_model(first, pairs, HASTY, streams([0]), Streams([0], "split"), max_steps=steps)
        for steps in (None, 10_000)
    )
    assert torch.equal(usual[1].epochs, free[1].epochs)
    for ours, theirs in zip(usual[0].parameters, free[0].parameters, strict=True):
        assert torch.equal(ours, theirs)


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


def test_each_seeds_members_of_the_best_likelihood_serve_whatever_their_squared_errors():
    nll = torch.tensor([[3.0, 1.0, 2.0], [-1.0, 0.0, -2.0]])
    report = ModelReport(nll, -nll, torch.zeros(2, 3))
    model = tagged_model(1.0, 2.0, 3.0, seeds=2)
    served = elite_members(model, report, ModelConfig(members=3, elites=2))
    assert served.net.biases[0][..., 0].tolist() == [[2.0, 3.0], [3.0, 1.0]]
    assert elite_members(model, report, ModelConfig(members=3)) is model


def test_an_ensemble_is_built_as_configured():
    _, data = lqg_data([0], count=50)
    for activation, layer_norm in (("relu", True), ("tanh", False)):
        config = replace(MODEL, activation=activation, layer_norm=layer_norm)
        net = new_ensemble(dynamics_pairs(data), config, Streams([0], "init")).net
        assert (net.activation, net.layer_norm) == (activation, layer_norm)


def test_what_is_held_out_stays_held_out_as_data_grow():
    held, train = held_out_rows(40, 0.2, Streams([0, 1], "split"))
    more_held, more_train = held_out_rows(97, 0.2, Streams([0, 1], "split"))
    assert held.shape == (2, 8)
    assert torch.equal(more_held[:, :8], held)
    for k in range(2):
        assert set(held[k].tolist()) | set(train[k].tolist()) == set(range(40))
        assert not set(train[k].tolist()) & set(more_held[k].tolist())
        # The last two wait until it is known which one of five is held out.
        assert set(more_held[k].tolist()) | set(more_train[k].tolist()) == set(range(95))
    assert not torch.equal(held[0], held[1])
