import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import analytic
from maac_bench import model_fitting
from maac_bench.critic_fitting import CriticConfig, fit_critics
from maac_bench.model_fitting import (
    ModelConfig,
    Pairs,
    _Best,
    _validate,
    dynamics_pairs,
    fit_model,
    held_out_rows,
    new_ensemble,
    refit_model,
)
from maac_bench.objectives.likelihood import gaussian_nll
from maac_bench.policies import LinearGaussian
from maac_bench.rollout import draw_rollout_noise, rollout, transitions
from maac_bench.streams import Streams
from maac_bench.types import Transition
from tests.maac_bench.problems import make_case

MODEL = ModelConfig(members=3, hidden=(16,), max_epochs=30, patience=4, batch_size=128)
CRITIC = CriticConfig(hidden=(16,), steps=60, learning_rate=1e-3)


def streams(seeds):
    return lambda purpose: Streams(seeds, purpose)


def lqg_data(seeds, count=1000, noise_std=1.0):
    """One-step transitions from wide states and actions; the exploring policy is the case's."""
    case = make_case(len(seeds))
    explorer = LinearGaussian(case.policy.gain, noise_std * torch.eye(2))
    factory = streams(seeds)
    start = case.start(factory("data-start"), count // 5)
    noise = draw_rollout_noise(factory("data-noise"), case.problem.dynamics, 5, (count // 5,), 3, 2)
    return case, transitions(case.problem, rollout(case.problem, explorer, start, noise))


def test_the_ensemble_learns_mean_derivative_and_noise_of_linear_dynamics():
    case, data = lqg_data([0], count=4000)
    config = ModelConfig(members=2, hidden=(32,), max_epochs=60)
    model, report = fit_model(data, config, streams([0]))
    state, action = data.state[:, :200], data.action[:, :200]
    mean, log_var = model.predict(state.unsqueeze(1), action.unsqueeze(1))
    exact = state @ torch.tensor(case.lqg.A - np.eye(3), dtype=torch.float32).T
    exact = exact + action @ torch.tensor(case.lqg.B, dtype=torch.float32).T
    error = model.targets.inverse(mean)[:, 0] - exact
    noise_std = np.sqrt(np.diag(case.lqg.W))
    assert (error.square().mean(dim=1).sqrt()[0].numpy() < 0.6 * noise_std).all()
    predicted_std = ((0.5 * log_var).exp() * model.targets.std).mean(dim=(0, 1, 2)).numpy()
    # The fitted noise also covers what the mean misses, so it errs on the large side.
    assert (predicted_std > 0.95 * noise_std).all()
    assert (predicted_std < 1.25 * noise_std).all()
    assert (report.epochs >= 1).all()
    # The share of the change that is pure noise is the best possible validation error.
    floor = float(np.mean(np.diag(case.lqg.W) / model.targets.std[0].numpy() ** 2))
    assert floor * 0.8 < float(report.validation_mse.mean()) < floor * 1.5


def test_a_seed_is_fitted_the_same_alone_and_in_a_stack():
    _, both = lqg_data([3, 8], count=400)
    _, alone = lqg_data([8], count=400)
    torch.testing.assert_close(both.state[1], alone.state[0])
    for config in (MODEL, ModelConfig(**{**MODEL.__dict__, "layer_norm": True})):
        stacked, stacked_report = fit_model(both, config, streams([3, 8]))
        single, single_report = fit_model(alone, config, streams([8]))
        assert torch.equal(stacked_report.epochs[1], single_report.epochs[0])
        for many, one in zip(stacked.parameters, single.parameters, strict=True):
            torch.testing.assert_close(many[1], one[0], rtol=1e-4, atol=1e-5)


def test_critics_are_fitted_the_same_alone_and_in_a_stack():
    case, both = lqg_data([3, 8], count=400)
    alone = Transition(*(field[1:] for field in both))
    stacked = fit_critics(both, case.policy, 0.95, CRITIC, streams([3, 8]))
    policy = case.policy.replace((case.policy.gain[1:],))
    single = fit_critics(alone, policy, 0.95, CRITIC, streams([8]))
    for many, one in zip(stacked.parameters, single.parameters, strict=True):
        torch.testing.assert_close(many[1], one[0], rtol=1e-4, atol=1e-5)


def test_members_differ_and_each_keeps_its_best_epoch():
    """With 40 transitions every member overfits at its own time."""
    _, data = lqg_data([0], count=50)
    config = ModelConfig(members=4, hidden=(64, 64), max_epochs=150, learning_rate=5e-3)
    model, report = fit_model(data, config, streams([0]))
    assert len(set(report.epochs[0].tolist())) > 1
    assert report.epochs.max() < 150
    longer = ModelConfig(**{**config.__dict__, "patience": 10_000})
    _, long_report = fit_model(data, longer, streams([0]))
    # Patience only decides when to stop looking, so a longer search is never worse.
    assert (long_report.validation_nll <= report.validation_nll + 1e-6).all()
    for weight in model.net.weights:
        assert not torch.equal(weight[0, 0], weight[0, 1])


def test_constant_reward_is_worth_the_geometric_sum():
    """Q = 1 / (1 - gamma) for a reward of 1 that never ends, and 1 where it ends at once."""
    generator = torch.Generator().manual_seed(0)
    state = torch.randn(1, 512, 3, generator=generator)
    action = torch.randn(1, 512, 2, generator=generator)
    policy = make_case().policy
    config = CriticConfig(hidden=(16,), steps=1500, learning_rate=3e-3, target_rate=0.05)
    for ended, value in ((0.0, 5.0), (1.0, 1.0)):
        reward = torch.ones(1, 512)
        data = Transition(state, action, reward, state, torch.full((1, 512), ended))
        critics = fit_critics(data, policy, 0.8, config, streams([0]))
        assert float(critics(state, action).mean()) == pytest.approx(value, rel=0.03)


@pytest.mark.slow
def test_fitted_critics_approach_the_exact_q_function_and_its_slope():
    case, data = lqg_data([0], count=5000, noise_std=0.5)
    config = CriticConfig(hidden=(64, 64), steps=8000, learning_rate=1e-3, target_rate=0.02)
    critics = fit_critics(data, case.policy, case.lqg.gamma, config, streams([0]))
    exact = analytic.evaluate(case.lqg, case.gain)
    x = torch.cat([data.state, data.action], dim=-1)[:, :1000].requires_grad_()
    value = critics(x[..., :3], x[..., 3:]).mean(dim=0)
    slope = torch.autograd.grad(value.sum(), x)[0][0].numpy()
    points = x[0].detach().numpy().astype(np.float64)
    truth = -np.einsum("bi,ij,bj->b", points, exact.G, points) - exact.d
    fitted = value[0].detach().numpy()
    assert np.corrcoef(fitted, truth)[0, 1] > 0.99
    true_slope = -2.0 * points @ exact.G
    relative = np.linalg.norm(slope - true_slope) / np.linalg.norm(true_slope)
    assert relative < 0.25


@pytest.mark.parametrize("field", ["state", "action", "reward", "next_state"])
def test_data_that_are_not_finite_are_named(field):
    case, data = lqg_data([0, 1], count=100)
    bad = getattr(data, field).clone()
    bad[1].view(-1)[3] = float("nan")
    broken = data._replace(**{field: bad})
    with pytest.raises(ValueError, match=rf"data\.{field} .*not finite.*index 1"):
        fit_model(broken, MODEL, streams([0, 1]))
    with pytest.raises(ValueError, match=rf"data\.{field} .*not finite.*index 1"):
        fit_critics(broken, case.policy, 0.9, CRITIC, streams([0, 1]))


def test_too_few_data_to_split_are_refused():
    _, data = lqg_data([0], count=5)
    one = Transition(*(field[:, :2] for field in data))
    with pytest.raises(ValueError, match="2 transitions cannot be split"):
        fit_model(one, MODEL, streams([0]))


def test_a_diverging_fit_says_so():
    case, data = lqg_data([0], count=200)
    with pytest.raises(FloatingPointError, match="model loss is not finite at epoch"):
        fit_model(data, ModelConfig(hidden=(16,), learning_rate=1e18), streams([0]))
    huge = data._replace(reward=data.reward * torch.tensor(1e38))
    config = CriticConfig(hidden=(16,), steps=3, learning_rate=1e-3)
    with pytest.raises((FloatingPointError, ValueError), match="not finite"):
        fit_critics(huge, case.policy, 0.9, config, streams([0]))


def test_a_deterministic_policy_can_be_evaluated():
    case, data = lqg_data([0], count=200)
    policy = LinearGaussian(case.policy.gain, torch.zeros(2, 2))
    critics = fit_critics(data, policy, 0.9, CRITIC, streams([0]))
    assert torch.isfinite(critics(data.state, data.action)).all()


def test_the_minimum_of_the_twins_is_pessimistic():
    case, data = lqg_data([0], count=400)
    values = {}
    for target in ("min", "mean"):
        config = CriticConfig(
            hidden=(16, 16), steps=800, learning_rate=3e-3, target_rate=0.1, target=target
        )
        critics = fit_critics(data, case.policy, case.lqg.gamma, config, streams([0]))
        values[target] = float(critics(data.state, data.action).mean())
    exact = analytic.evaluate(case.lqg, case.gain)
    points = torch.cat([data.state, data.action], dim=-1)[0].double().numpy()
    truth = float(np.mean(-np.einsum("bi,ij,bj->b", points, exact.G, points) - exact.d))
    assert values["min"] < values["mean"]
    assert values["mean"] == pytest.approx(truth, rel=0.2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModelConfig(members=0), "members must be positive, got 0"),
        (lambda: ModelConfig(max_epochs=0), "max_epochs must be positive"),
        (lambda: ModelConfig(validation=1.0), "validation must lie between 0 and 1"),
        (lambda: CriticConfig(steps=0), "steps must be positive"),
        (lambda: CriticConfig(target_rate=5.0), r"target_rate must lie in \(0, 1\], got 5.0"),
        (lambda: CriticConfig(target="max"), "target must be 'min' or 'mean', got 'max'"),
    ],
)
def test_configurations_that_cannot_train_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_discount_of_one_is_refused():
    case, data = lqg_data([0], count=100)
    with pytest.raises(ValueError, match="discount must lie in"):
        fit_critics(data, case.policy, 1.0, CRITIC, streams([0]))


def test_a_reward_of_zero_is_worth_nothing():
    case, data = lqg_data([0], count=200)
    config = CriticConfig(hidden=(16,), steps=1000, learning_rate=3e-3, target_rate=0.05)
    nothing = data._replace(reward=torch.zeros_like(data.reward))
    critics = fit_critics(nothing, case.policy, 0.8, config, streams([0]))
    assert critics(data.state, data.action).abs().mean() < 0.05


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


def test_critics_are_fitted_to_target_networks_that_follow_slowly():
    """Ones that stand still are worth a single step; the critics' own values would reach 10."""
    case, data = lqg_data([0], count=400)
    paid = data._replace(reward=torch.ones_like(data.reward))
    config = CriticConfig(hidden=(16,), steps=1500, learning_rate=3e-3, target_rate=1e-9)
    critics = fit_critics(paid, case.policy, 0.9, config, streams([0]))
    still = init_critics_of(paid, config)
    expected = 1.0 + 0.9 * float(still(data.next_state, data.action).mean())
    assert float(critics(data.state, data.action).mean()) == pytest.approx(expected, abs=1.0)
    assert abs(expected) < 5.0


def init_critics_of(data, config):
    """The critics that a fit begins with: no step has been taken at this rate."""
    case, _ = lqg_data([0], count=50)
    frozen = replace(config, steps=1, learning_rate=1e-30)
    return fit_critics(data, case.policy, 0.9, frozen, streams([0]))
