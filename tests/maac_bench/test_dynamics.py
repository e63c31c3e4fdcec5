import pytest
import torch

from maac_bench.dynamics import LOG_VAR_RANGE, Ensemble, EveryMember, init_ensemble
from maac_bench.nets import MLP, Hidden, Normalizer
from maac_bench.rollout import draw_model_noise
from maac_bench.streams import Streams
from maac_bench.types import ModelNoise


def unit(size: int, seeds: int = 1) -> Normalizer:
    return Normalizer(torch.zeros(seeds, size), torch.ones(seeds, size))


def tagged_ensemble(members: int, seeds: int = 1) -> Ensemble:
    """Member k always predicts a change of 10 + k with almost no variance."""
    tags = 10.0 + torch.arange(members, dtype=torch.get_default_dtype())
    weight = torch.zeros(seeds, members, 3, 4)
    bias = torch.zeros(seeds, members, 4)
    bias[..., :2] = tags[:, None]
    bias[..., 2:] = -100.0
    return Ensemble(MLP((weight,), (bias,), "relu", False), unit(3, seeds), unit(2, seeds))


def step(ensemble: Ensemble, batch: int, seed: int = 0) -> torch.Tensor:
    seeds = ensemble.net.stack[0]
    noise = draw_model_noise(Streams(range(seed, seed + seeds), "x"), ensemble, (batch,), 2)
    zeros = torch.zeros(seeds, batch, 2)
    return ensemble.step(zeros, torch.zeros(seeds, batch, 1), noise)


@pytest.mark.parametrize("batch", [1, 4, 7, 10, 12])
def test_every_sample_goes_through_one_member_in_balanced_shares(batch):
    """Also where the batch is no multiple of the member count."""
    change = step(tagged_ensemble(5), batch)[0, :, 0].round()
    assert set(change.tolist()) <= {10.0, 11.0, 12.0, 13.0, 14.0}
    counts = torch.stack([(change == 10 + k).sum() for k in range(5)])
    assert counts.sum() == batch
    assert counts.max() <= -(-batch // 5)


def test_every_seed_can_choose_its_own_members():
    chosen = tagged_ensemble(4, seeds=2).choose(torch.tensor([[3, 1], [0, 2]]))
    assert chosen.members == 2
    change = step(chosen, 8)[..., 0].round()
    assert [set(row.tolist()) for row in change] == [{13.0, 11.0}, {10.0, 12.0}]


def test_the_member_of_a_sample_is_uniform():
    ensemble = tagged_ensemble(4)
    draws = torch.stack([step(ensemble, 6, seed)[0, :, 0].round() for seed in range(800)])
    for k in range(4):
        share = (draws == 10 + k).double().mean(dim=0)
        assert (share - 0.25).abs().max() < 5 * (0.25 * 0.75 / 800) ** 0.5


def test_each_sample_is_paired_with_its_own_input_and_noise():
    """The change is the sample's own first coordinate: grouping must undo itself exactly."""
    members = 3
    weight = torch.zeros(1, members, 3, 4)
    weight[..., 0, 0] = 1.0
    bias = torch.full((1, members, 4), 0.0)
    ensemble = Ensemble(MLP((weight,), (bias,), "relu", False), unit(3), unit(2))
    state, action = torch.randn(1, 8, 2), torch.randn(1, 8, 1)
    noise = draw_model_noise(Streams([0], "x"), ensemble, (8,), 2)
    mean = state + torch.cat([state[..., :1], torch.zeros(1, 8, 1)], dim=-1)
    _, log_var = ensemble.predict(state.unsqueeze(1), action.unsqueeze(1))
    expected = mean + (0.5 * log_var[:, 0]).exp() * noise.normal
    torch.testing.assert_close(ensemble.step(state, action, noise), expected)
    torch.testing.assert_close(ensemble._replace(noisy=False).step(state, action, noise), mean)


def test_change_is_predicted_in_standardised_units():
    base = tagged_ensemble(1)
    targets = Normalizer(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 0.1]]))
    change = step(base._replace(targets=targets), 3)[0, 0]
    torch.testing.assert_close(change, torch.tensor([1.0 + 5.0, 2.0 + 1.0]), atol=1e-3, rtol=0)


def test_batch_axes_between_seed_and_features_are_kept():
    ensemble = init_ensemble(Streams([0, 1], "m"), unit(3, 2), unit(2, 2), Hidden((8,)), members=2)
    state, action = torch.randn(2, 3, 4, 2), torch.randn(2, 3, 4, 1)
    noise = draw_model_noise(Streams([0, 1], "x"), ensemble, (3, 4), 2)
    flat = noise._replace(normal=noise.normal.flatten(1, 2))
    torch.testing.assert_close(
        ensemble.step(state, action, noise).flatten(1, 2),
        ensemble.step(state.flatten(1, 2), action.flatten(1, 2), flat),
    )


def test_log_variance_stays_in_its_range_with_a_gradient():
    ensemble = tagged_ensemble(1)
    for extreme in (-1e3, 1e3):
        bias = ensemble.net.biases[0].clone()
        bias[..., 2:] = extreme
        bias.requires_grad_()
        moved = ensemble.replace((ensemble.net.weights[0], bias))
        _, log_var = moved.predict(torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 1))
        assert LOG_VAR_RANGE[0] <= log_var.min()
        assert log_var.max() <= LOG_VAR_RANGE[1]
    bias = torch.zeros(1, 1, 4, requires_grad=True)
    _, log_var = ensemble.replace((ensemble.net.weights[0], bias)).predict(
        torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 1)
    )
    log_var.sum().backward()
    assert (bias.grad[..., 2:] > 0.9).all()


def test_noise_drawn_for_other_dynamics_is_refused():
    with pytest.raises(ValueError, match="needs slots"):
        tagged_ensemble(2).step(
            torch.zeros(1, 4, 2), torch.zeros(1, 4, 1), ModelNoise(torch.zeros(1, 4, 2))
        )


@pytest.mark.parametrize("noisy", [True, False])
def test_a_member_alone_steps_as_it_does_among_all(noisy):
    """The same noise, real normalisers: what serves the actor and what serves the targets agree."""
    inputs = Normalizer(torch.tensor([[0.5, -1.0, 0.2]]), torch.tensor([[2.0, 0.3, 1.5]]))
    targets = Normalizer(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 0.1]]))
    ensemble = init_ensemble(
        Streams([0], "init"), inputs, targets, Hidden((8,)), members=3, noisy=noisy
    )
    state, action = torch.randn(1, 6, 2), torch.randn(1, 6, 1)
    normal = torch.randn(1, 6, 2)
    every = EveryMember(ensemble)
    together = every.step(
        state.unsqueeze(1).expand(1, 3, 6, 2), action.unsqueeze(1), ModelNoise(normal[:, None])
    )
    for k in range(3):
        alone = ensemble.choose(torch.tensor([[k]]))
        noise = draw_model_noise(Streams([0], "x"), alone, (6,), 2)._replace(normal=normal)
        torch.testing.assert_close(together[:, k], alone.step(state, action, noise))
    assert not torch.allclose(together[:, 0], together[:, 1])
