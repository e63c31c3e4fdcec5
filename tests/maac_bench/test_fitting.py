from dataclasses import replace

import numpy as np
import pytest
import torch

import analytic
from maac_bench.critic_fitting import CriticConfig, fit_critics
from maac_bench.dynamics import EveryMember
from maac_bench.model_fitting import ModelConfig, fit_model
from maac_bench.policies import LinearGaussian
from maac_bench.types import ModelNoise, Transition
from tests.maac_bench.problems import lqg_data, make_case, streams

MODEL = ModelConfig(members=3, hidden=(16,), max_epochs=30, patience=4, batch_size=128)
CRITIC = CriticConfig(hidden=(16,), steps=60, learning_rate=1e-3)


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
    config = CriticConfig(hidden=(16,), steps=1, learning_rate=1e39)
    with pytest.raises(FloatingPointError, match="critics are not finite after step 0"):
        fit_critics(data, case.policy, 0.9, config, streams([0]))


def test_critics_are_built_as_configured():
    case, data = lqg_data([0], count=50)
    config = CriticConfig(
        count=3, hidden=(4,), steps=1, layer_norm=True, activation="tanh", batch_size=8
    )
    critics = fit_critics(data, case.policy, 0.9, config, streams([0]))
    assert critics(data.state, data.action).shape == (3, 1, 50)
    assert (critics.net.layer_norm, critics.net.activation) == (True, "tanh")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": float("inf")}, "learning_rate must be finite"),
        ({"hidden": (8, 0)}, r"hidden must be positive, got \(8, 0\)"),
    ],
)
def test_critics_that_cannot_be_trained_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CriticConfig(**options)


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


def test_a_feature_that_never_changes_is_left_where_it_is():
    """A goal that differs from episode to episode and stays put in each."""
    _, data = lqg_data([0], count=400)
    goal = torch.randn(1, 20, 1).repeat_interleave(20, dim=1).reshape(1, 400, 1)
    state, following = (torch.cat([x, goal], dim=-1) for x in (data.state, data.next_state))
    data = data._replace(state=state, next_state=following)
    fitted, _ = fit_model(data, replace(MODEL, max_epochs=3), streams([0]))
    noise = ModelNoise(torch.randn(1, 1, 400, state.shape[-1]))
    step = EveryMember(fitted).step(state.unsqueeze(1), data.action.unsqueeze(1), noise)
    assert not torch.allclose(step[..., 0], state.unsqueeze(1)[..., 0])
    torch.testing.assert_close(step[..., -1], goal[..., 0].unsqueeze(1).expand_as(step[..., -1]))
