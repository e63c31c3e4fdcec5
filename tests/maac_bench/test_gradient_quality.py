"""What is measured of two sets of gradients."""

import numpy as np
import pytest
import torch

from maac_bench.gradient_quality import RESAMPLES, exploding_share, measure
from maac_bench.streams import Streams

pytestmark = pytest.mark.usefixtures("float64")


def tensor(x):
    return torch.tensor(x, dtype=torch.get_default_dtype())


def test_every_measure_of_known_gradients():
    target = tensor([[[2.0, 0.0], [0.0, 2.0]]])
    estimate = tensor([[[4.0, 0.0], [-2.0, 2.0]]])
    quality = measure(estimate, target, Streams([0], "resampling"))
    assert quality.l1_error.item() == pytest.approx(0.0)
    quality = measure(estimate + tensor([1.0, 0.0]), target, Streams([0], "resampling"))
    assert quality.l1_error.item() == pytest.approx(1.0)
    assert quality.l2_relative.item() == pytest.approx(1.0 / np.sqrt(2.0))
    assert quality.cosine.item() == pytest.approx(3.0 / np.sqrt(10.0))
    assert quality.norm_ratio.item() == pytest.approx(np.sqrt(5.0 / 2.0))
    assert quality.cosine_halves.item() == pytest.approx(0.0)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_cosines_do_not_depend_on_the_gradients_length(scale):
    x, y = Streams([0], "samples").normal(2, 8, 5).unbind(dim=1)
    at_one, scaled = (
        measure(size * x, size * y, Streams([0], "resampling")) for size in (1.0, scale)
    )
    for name in ("cosine", "cosine_error", "cosine_halves", "sample_cosine", "sample_norm_ratio"):
        assert getattr(scaled, name).item() == pytest.approx(getattr(at_one, name).item()), name
    assert measure(scale * x, scale * x, Streams([0], "r")).cosine.item() == pytest.approx(1.0)


def test_what_has_no_direction_has_no_cosine():
    estimate = tensor([[[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [0.0, 2.0]]])
    target = tensor([[[0.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 2.0]]])
    quality = measure(estimate, target, Streams([0], "resampling"))
    assert quality.sample_cosine.item() == pytest.approx(1.0)
    assert quality.sample_norm_ratio.item() == pytest.approx(1.0)
    nothing = measure(estimate, torch.zeros_like(target), Streams([0], "resampling"))
    for value in (nothing.cosine, nothing.cosine_halves, nothing.sample_cosine):
        assert value.isnan().all()


def test_single_samples_are_summed_up_by_their_median():
    target = tensor([[[1.0, 0.0]] * 3])
    estimate = tensor([[[1.0, 0.0], [2.0, 0.0], [-60.0, 0.0]]])
    quality = measure(estimate, target, Streams([0], "resampling"))
    assert quality.sample_cosine.item() == 1.0
    assert quality.sample_norm_ratio.item() == 2.0


def test_every_sample_can_be_drawn_again():
    """Also the last, in which alone the two differ here."""
    target = tensor([[[1.0, 0.0]] * 6])
    estimate = target.clone()
    estimate[0, -1] = tensor([1.0, 3.0])
    quality = measure(estimate, target, Streams([0], "resampling"))
    assert quality.cosine_error.item() > 0.0


def test_means_are_taken_in_double_precision():
    estimate = torch.tensor([[[1e8, 1.0], [1.0, 1.0], [-1e8, 1.0]]], dtype=torch.float32)
    quality = measure(estimate, torch.ones(1, 3, 2), Streams([0], "resampling"))
    assert quality.l1_error.item() == pytest.approx(2.0 / 3.0, rel=1e-6)


@pytest.mark.parametrize(
    ("dimensions", "samples", "signal", "cosine", "expected"),
    [
        (6, 200, 0.0, 0.0, 0.85),
        (100, 200, 0.0, 0.0, 0.92),
        (100, 200, 0.05, 0.33, 1.0),
        (6, 200, 0.15, 0.82, 1.32),
        (100, 200, 0.25, 0.93, 1.75),
        (2000, 4, 0.0, 0.0, 0.74),
        (500, 64, 0.3, 0.85, 2.2),
        (2000, 64, 0.3, 0.85, 3.8),
    ],
)
def test_the_error_of_the_cosine_beside_its_spread_over_replicates(
    dimensions, samples, signal, cosine, expected
):
    """Redrawn means have the samples' noise twice: that spreads large cosines, not small ones."""
    seeds = range(200)
    noise = Streams(seeds, "samples").normal(2, samples, dimensions)
    estimate, target = signal + noise[:, 0], signal + noise[:, 1]
    quality = measure(estimate, target, Streams(seeds, "resampling"))
    ratio = quality.cosine_error.mean() / quality.cosine.std()
    assert RESAMPLES >= 100
    assert float(quality.cosine.mean()) == pytest.approx(cosine, abs=0.05)
    assert float(ratio) == pytest.approx(expected, rel=0.13)


def test_exploding_samples_are_counted_and_not_removed():
    gradients = torch.ones(1, 10, 3)
    gradients[0, 0] = 1e6
    assert exploding_share(gradients).item() == pytest.approx(0.1)
    quality = measure(gradients, torch.ones(1, 10, 3), Streams([0], "resampling"))
    assert quality.norm_ratio.item() == pytest.approx((1e6 + 9.0) / 10.0)
    assert quality.sample_norm_ratio.item() == pytest.approx(1.0)
    assert quality.exploding.item() == pytest.approx(0.1)
    assert quality.exploding_target.item() == 0.0


@pytest.mark.parametrize("unit", [1.0, 0.01, 1000.0])
def test_exploding_is_beyond_a_hundred_medians_of_the_euclidean_length(unit):
    gradients = torch.zeros(1, 9, 4)
    gradients[..., 0] = 1.0
    gradients[0, 0, 0] = 99.0
    gradients[0, 1] = 40.0  # 80 long, 160 in all
    assert exploding_share(unit * gradients).item() == 0.0
    gradients[0, 1] = 51.0
    assert exploding_share(unit * gradients).item() == pytest.approx(1.0 / 9.0)
