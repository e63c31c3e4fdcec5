"""Faster products are taken only where they are as exact, and only for as long as asked for."""

import pytest
import torch

from maac_bench import products
from maac_bench.products import fast_products


@pytest.fixture(autouse=True)
def fresh():
    products._permitted_is_exact.cache_clear()
    yield
    products._permitted_is_exact.cache_clear()


def precision():
    return torch.backends.mkldnn.matmul.fp32_precision


@pytest.mark.parametrize("shape", [(3, 100, 300, 50), (1, 17, 2000, 1), (5, 256, 23, 256)])
def test_products_keep_the_accuracy_of_float32(shape):
    stack, rows, inner, columns = shape
    generator = torch.Generator().manual_seed(1)
    left = torch.randn(stack, rows, inner, generator=generator)
    right = torch.randn(stack, inner, columns, generator=generator)
    exact = left.double() @ right.double()
    with fast_products():
        error = (left @ right - exact).norm() / exact.norm()
    assert error < 2e-6


def test_the_setting_ends_with_the_block():
    before = precision()
    with pytest.raises(KeyError), fast_products() as fast:
        assert (precision() == "bf16") is fast
        raise KeyError
    assert precision() == before


def test_products_that_would_lose_digits_are_left_alone(monkeypatch):
    """As on a processor that takes the permission."""
    monkeypatch.setattr(products, "_error", lambda *_shape: 3e-3)
    before = precision()
    with fast_products() as fast:
        assert not fast
        assert precision() == before
