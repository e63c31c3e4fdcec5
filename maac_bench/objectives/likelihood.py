"""Model likelihood (Clavera et al. 2020, Sec. 3.1 and 4.3)."""

from __future__ import annotations

import math

from torch import Tensor


def gaussian_nll(mean: Tensor, log_var: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of a diagonal Gaussian, mean over features.

    `0.5 [(x - mu)^2 exp(-log var) + log var + log 2 pi]`, in nats per feature.

    Args:
        mean: [..., n].
        log_var: logarithm of the variance, [..., n].
        target: x, [..., n].

    Returns:
        [...].
    """
    squared = (target - mean).square() * (-log_var).exp()
    return 0.5 * (squared + log_var + math.log(2.0 * math.pi)).mean(dim=-1)
