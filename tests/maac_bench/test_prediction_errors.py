"""Open-loop errors of models whose errors are known."""

import pytest
import torch

from maac_bench.diagnostics import prediction_errors
from maac_bench.evaluation import Record
from maac_bench.nets import Normalizer
from maac_bench.streams import Streams
from tests.maac_bench.agents import M, N, make_record, tagged_model

pytestmark = pytest.mark.usefixtures("float64")


def linear_model(gain: torch.Tensor, *offsets: float):
    """Members that move the state by `[s, a] gain + offset`, side by side."""
    model = tagged_model(*offsets)
    weight = torch.zeros(1, len(offsets), N + M, 2 * N)
    weight[..., :N] = gain
    return model._replace(net=model.net._replace(weights=(weight,)))


def linear_episode(gain: torch.Tensor, steps: int = 30, seeds=(0,)) -> Record:
    """An episode of `s' = s + [s, a] gain` with random actions."""
    stream = Streams(seeds, "episode")
    states, actions = [stream.normal(N)], []
    for _ in range(steps):
        actions.append(stream.normal(M))
        states.append(states[-1] + torch.cat([states[-1], actions[-1]], dim=-1) @ gain)
    zero = torch.zeros(steps, len(seeds))
    return make_record(torch.stack(states), torch.stack(actions), zero)


def ended(record: Record, seed: int, steps: int) -> Record:
    """That seed's episode ends after `steps`; it stands still from there on."""
    alive, states = record.alive.clone(), record.states.clone()
    alive[steps:, seed] = 0.0
    states[steps + 1 :, seed] = states[steps, seed]
    return record._replace(alive=alive, states=states)


def random_gain() -> torch.Tensor:
    return 0.1 * Streams([0], "gain").normal(N + M, N)[0]


def test_an_exact_model_predicts_without_error():
    gain = random_gain()
    errors = prediction_errors(linear_model(gain, 0.0, 0.0), linear_episode(gain))
    assert list(errors) == [1, 2, 4, 8]
    for error in errors.values():
        assert error.tolist() == pytest.approx([0.0], abs=1e-10)


def test_a_constant_error_adds_up_step_by_step():
    """s' = s + B a, a model off by 0.3 per step: k steps are off by 0.3 k, in units of spread."""
    gain = torch.cat([torch.zeros(N, N), random_gain()[N:]])
    record = linear_episode(gain)
    errors = prediction_errors(linear_model(gain, 0.3, -0.3), record, (1, 2, 5))
    unit = record.states.std(dim=0)
    for k, error in errors.items():
        expected = (0.3 * k / unit).square().mean().sqrt()
        assert float(error) == pytest.approx(float(expected))


def test_features_that_do_not_vary_are_left_out():
    """A goal or a mass that stays as it was has no spread to be measured in."""
    gain = random_gain()
    gain[:, -1] = 0.0
    record = linear_episode(gain)
    model = linear_model(gain, 0.1, -0.1)
    errors, unit = prediction_errors(model, record, (1,)), record.states.std(dim=0)[0, :-1]
    assert float(errors[1]) == pytest.approx(float((0.1 / unit).square().mean().sqrt()))
    model.targets.mean[..., -1] = torch.inf
    assert float(prediction_errors(model, record, (1,))[1]) == float("inf")


def test_where_nothing_varies_there_is_no_error():
    record = linear_episode(torch.zeros(N + M, N))
    errors = prediction_errors(linear_model(random_gain(), 0.1), record, (1, 4))
    assert all(float(error) != float(error) for error in errors.values())


def test_noise_in_the_model_plays_no_part():
    gain, record = random_gain(), linear_episode(random_gain())
    model = linear_model(gain, 0.1)
    quiet, noisy = (prediction_errors(model._replace(noisy=x), record) for x in (False, True))
    assert quiet == noisy


def test_what_follows_an_episodes_end_is_not_predicted():
    """After its end a seed stands still, which an exact model does not foresee."""
    gain = random_gain()
    record = ended(linear_episode(gain, seeds=(0, 1)), 1, 20)
    model = linear_model(gain, 0.0)
    both = model.replace([p.expand(2, *p.shape[1:]) for p in model.parameters])
    both = both._replace(
        inputs=type(model.inputs)(*(x.expand(2, -1) for x in model.inputs)),
        targets=type(model.targets)(*(x.expand(2, -1) for x in model.targets)),
    )
    for error in prediction_errors(both, record).values():
        assert error.tolist() == pytest.approx([0.0, 0.0], abs=1e-10)


def test_a_prediction_error_does_not_depend_on_a_longer_episode_beside_it():
    gain = random_gain()
    long = linear_episode(gain, steps=40)
    short = Record(*(x[:13] if x.dim() > 1 else x for x in long))._replace(states=long.states[:14])
    padded = ended(long, 0, 13)
    model = linear_model(gain, 0.2)
    alone, stacked = prediction_errors(model, short), prediction_errors(model, padded)
    assert alone.keys() == stacked.keys()
    for k, error in alone.items():
        torch.testing.assert_close(stacked[k], error)


def test_every_start_with_all_its_steps_in_the_episode_counts():
    """Eight steps have one start at which eight steps can be predicted."""
    gain = random_gain()
    errors = prediction_errors(linear_model(gain, 0.0), linear_episode(gain, steps=8))
    assert list(errors) == [1, 2, 4, 8]


def test_an_episode_that_is_too_short_measures_nothing():
    gain = random_gain()
    record = ended(linear_episode(gain, seeds=(0, 1)), 0, 3)
    model = linear_model(gain, 0.0)
    both = model._replace(
        net=model.net.replace([p.expand(2, *p.shape[1:]) for p in model.parameters]),
        inputs=Normalizer(*(x.expand(2, -1) for x in model.inputs)),
        targets=Normalizer(*(x.expand(2, -1) for x in model.targets)),
    )
    errors = prediction_errors(both, record)
    assert [bool(error[0].isnan()) for error in errors.values()] == [False, False, True, True]
    assert all(error[1] < 1e-10 for error in errors.values())


def test_predictions_that_are_not_finite_are_infinitely_wrong():
    gain = random_gain()
    model = linear_model(gain, float("nan"))
    for error in prediction_errors(model, linear_episode(gain)).values():
        assert error.tolist() == [torch.inf]
