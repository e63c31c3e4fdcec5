import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, TanhTransform, TransformedDistribution

from maac_bench.policies import LinearGaussian
from tests.maac_bench.problems import squashed_policy
from tests.maac_bench.trainers import fill_

pytestmark = pytest.mark.usefixtures("float64")


def linear_policy():
    generator = torch.Generator().manual_seed(0)
    gain = torch.randn(2, 2, 3, generator=generator)
    return LinearGaussian(gain, torch.tensor([[0.5, 0.0], [0.2, 0.3]]))


def test_linear_gaussian_sample_and_density_agree_with_torch_distributions():
    policy, state, noise = linear_policy(), torch.randn(2, 5, 3), torch.randn(2, 5, 2)
    action = policy.sample(state, noise)
    mean = -torch.einsum("smn,sbn->sbm", policy.gain, state)
    reference = MultivariateNormal(mean, scale_tril=policy.scale)
    torch.testing.assert_close(policy.mean_action(state), mean)
    torch.testing.assert_close(action.value, mean + noise @ policy.scale.T)
    torch.testing.assert_close(action.log_prob, reference.log_prob(action.value))
    torch.testing.assert_close(policy.log_prob(state, action.raw), action.log_prob)


def test_squashed_gaussian_density_agrees_with_torch_distributions():
    policy = squashed_policy([0, 1])
    state, noise = torch.randn(2, 7, 3), torch.randn(2, 7, 2)
    action = policy.sample(state, noise)
    mean, log_std = policy.net(state).chunk(2, dim=-1)
    reference = TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform())
    torch.testing.assert_close(action.log_prob, reference.log_prob(action.value).sum(-1))
    torch.testing.assert_close(policy.log_prob(state, action.raw), action.log_prob)
    torch.testing.assert_close(policy.mean_action(state), torch.tanh(mean))


def test_squashed_density_stays_finite_where_tanh_saturates():
    policy = squashed_policy([0])
    raw = torch.tensor([[[30.0, -40.0]]])
    state = torch.zeros(1, 1, 3)
    assert torch.isfinite(policy.log_prob(state, raw)).all()


def test_a_policy_without_noise_samples_but_has_no_density():
    policy = LinearGaussian(torch.ones(1, 1, 2), torch.zeros(1, 1))
    state = torch.randn(1, 4, 2)
    torch.testing.assert_close(
        policy.sample(state, torch.randn(1, 4, 1)).value, policy.mean_action(state)
    )
    with pytest.raises(ValueError, match="without action noise"):
        policy.log_prob(state, torch.zeros(1, 4, 1))


@pytest.mark.parametrize("make", [linear_policy, lambda: squashed_policy([0, 1])])
def test_parameters_round_trip(make):
    policy, state = make(), torch.randn(2, 4, 3)
    doubled = policy.replace(tuple(2 * p for p in policy.parameters))
    assert not torch.allclose(doubled.mean_action(state), policy.mean_action(state))
    back = doubled.replace(policy.parameters)
    torch.testing.assert_close(back.mean_action(state), policy.mean_action(state))
    assert policy.stack == (2,)


@pytest.mark.parametrize(("said", "used"), [(100.0, 2.0), (-100.0, -20.0), (-7.0, -7.0)])
def test_the_logarithm_of_the_noise_stays_in_its_range(said, used):
    policy = squashed_policy([0], m=1)
    last = policy.net.biases[-1]
    fill_(policy.parameters, 0.0)
    last[..., 1] = said
    action = policy.sample(torch.zeros(1, 1, 3), torch.full((1, 1, 1), 0.01))
    assert float(action.raw) == pytest.approx(0.01 * math.exp(used), rel=1e-9)
    assert torch.isfinite(action.log_prob).all()
