"""How far an estimate of a mean gradient is from its target, from samples of both."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maac_bench.streams import Streams

RESAMPLES = 200
OUTLIER = 100.0
"""A sample whose gradient is longer than this many medians counts as exploding.

Of an even number of values a median is the lower of the two in the middle, here and below.
"""


class Quality(NamedTuple):
    """An estimate of the mean gradient against its target, [seeds] each; g and g* are the means.

    Fields:
        l1_error: `|g - g*|_1`.
        l2_relative: `|g - g*| / |g*|`.
        cosine: between g and g*; like all cosines NaN where one of them is zero. Noise in either
            mean lowers it, which `cosine_error` does not say and `cosine_halves` does.
        cosine_error: its standard error, from samples redrawn with replacement, pairs together. Of
            normal samples it is 0.74 to 1 times the true spread where the cosine is 0, and too
            large where it is high, the more so the more dimensions there are: 1.3 to 1.75 times at
            0.82 to 0.93 in up to 100, and at 0.85 about 2.2 and 3.8 times in 500 and 2000 (a test
            measures it).
        cosine_halves: between the target's means over the two halves of the samples: near 1 where
            sampling hardly matters, near 0 where half the samples give noise.
        norm_ratio: `|g| / |g*|`.
        sample_cosine: median over samples of the cosine between a sample's own two gradients:
            another quantity than `cosine`, and one that a few exploding samples cannot decide.
            Samples of which one gradient is zero have none.
        sample_norm_ratio: likewise the median ratio of a sample's two lengths.
        exploding: share of the estimate's samples longer than `OUTLIER` times their median.
        exploding_target: the same share of the target's.
    """

    l1_error: Tensor
    l2_relative: Tensor
    cosine: Tensor
    cosine_error: Tensor
    cosine_halves: Tensor
    norm_ratio: Tensor
    sample_cosine: Tensor
    sample_norm_ratio: Tensor
    exploding: Tensor
    exploding_target: Tensor


def measure(estimate: Tensor, target: Tensor, streams: Streams) -> Quality:
    """Compare the means of per-sample gradients, [seeds, N, parameters] each; see `Quality`.

    Args:
        estimate: its mean is g.
        target: its mean is g*.
        streams: redraws the samples for the standard error.
    """
    x, y = estimate.double(), target.double()
    seeds, samples = x.shape[:2]
    drawn = streams.integers(samples, RESAMPLES, samples)
    redrawn = torch.zeros(seeds, RESAMPLES, samples, dtype=x.dtype)
    redrawn.scatter_add_(-1, drawn, torch.ones_like(redrawn))
    # Inner products of any weighted means follow from those of the samples.
    xy, xx, yy = x @ y.mT, x @ x.mT, y @ y.mT
    error, size = (x - y).mean(dim=1), y.mean(dim=1).norm(dim=-1)
    sizes = _square(redrawn, xx).sqrt() * _square(redrawn, yy).sqrt()
    return Quality(
        l1_error=error.abs().sum(dim=-1),
        l2_relative=error.norm(dim=-1) / size,
        cosine=cosine(x.mean(dim=1), y.mean(dim=1)),
        cosine_error=(_square(redrawn, xy) / sizes).std(dim=-1),
        cosine_halves=_cosine_halves(y),
        norm_ratio=x.mean(dim=1).norm(dim=-1) / size,
        sample_cosine=cosine(x, y).nanmedian(dim=-1).values,
        sample_norm_ratio=(x.norm(dim=-1) / y.norm(dim=-1)).nanmedian(dim=-1).values,
        exploding=exploding_share(x),
        exploding_target=exploding_share(y),
    )


def _square(weights: Tensor, products: Tensor) -> Tensor:
    """`w' P w` for every row of the weights, [seeds, R, N] -> [seeds, R]."""
    return ((weights @ products) * weights).sum(dim=-1)


def _cosine_halves(gradients: Tensor) -> Tensor:
    half = gradients.shape[1] // 2
    first, second = gradients[:, :half].mean(dim=1), gradients[:, half:].mean(dim=1)
    return cosine(first, second)


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Over the last axis; NaN where one is zero. To torch's own no length is below 1e-8."""
    result: Tensor = (x * y).sum(dim=-1) / (x.norm(dim=-1) * y.norm(dim=-1))
    return result


def exploding_share(gradients: Tensor) -> Tensor:
    """Share of samples whose gradient is longer than `OUTLIER` times the median one, [seeds]."""
    norms = gradients.norm(dim=-1)
    median = norms.median(dim=-1, keepdim=True).values
    outliers: Tensor = norms > OUTLIER * median
    return outliers.to(norms.dtype).mean(dim=-1)
