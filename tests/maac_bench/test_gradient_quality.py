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


@pytest.mark.parametrize(
    ("dimensions", "signal", "cosine", "expected"),
    [
        (6, 0.0, 0.0, 0.85),
        (100, 0.0, 0.0, 0.92),
        (100, 0.05, 0.33, 1.0),
        (6, 0.15, 0.82, 1.32),
        (100, 0.25, 0.93, 1.75),
    ],
)
def test_the_error_of_the_cosine_beside_its_spread_over_replicates(
    dimensions, signal, cosine, expected
):
    """Redrawn means have the samples' noise twice: that spreads large cosines, not small ones."""
    seeds = range(200)
    noise = Streams(seeds, "samples").normal(2, 200, dimensions)
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
    assert quality.exploding_target.item() == 0.0
