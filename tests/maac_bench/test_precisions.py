"""Products of fewer digits as operators: their gradients, and inside compiled programs."""

import shutil

import pytest
import torch

from maac_bench.fusion import fuse
from maac_bench.precisions import PRECISIONS, tf32_bmm
from maac_bench.streams import Streams


def operands():
    streams = Streams((0, 1, 2), "test")
    return [x.requires_grad_() for x in (streams.normal(5, 4), streams.normal(4, 4))]


def gradients(multiply, left, right):
    hidden = torch.tanh(multiply(left, right))
    return torch.autograd.grad(multiply(hidden, right).square().sum(), (left, right))


def test_the_operator_fits_torchs_rules():
    torch.library.opcheck(tf32_bmm, operands())


@pytest.mark.parametrize("multiply", [tf32_bmm, PRECISIONS["tf32"]])
def test_a_processor_makes_full_products_for_tf32(multiply):
    left, right = operands()
    assert torch.equal(multiply(left, right), torch.bmm(left, right))
    expected = gradients(torch.bmm, left, right)
    for found, exact in zip(gradients(multiply, left, right), expected, strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-6)


@pytest.fixture
def forbidden():
    """The setting, while it permits no product TF32."""
    settings = torch.backends.cuda.matmul
    before, settings.fp32_precision = settings.fp32_precision, "ieee"
    yield settings
    settings.fp32_precision = before


def test_the_permission_ends_with_the_product(forbidden):
    """Also with one that fails."""
    tf32_bmm(*operands())
    assert forbidden.fp32_precision == "ieee"
    with pytest.raises(RuntimeError):
        tf32_bmm(torch.ones(1, 2, 3), torch.ones(1, 2, 3))
    assert forbidden.fp32_precision == "ieee"


def settings_of_products(monkeypatch):
    """What is permitted to each product that is made from now on."""
    found, multiply = [], torch.bmm

    def seen(left, right):
        found.append(torch.backends.cuda.matmul.fp32_precision)
        return multiply(left, right)

    monkeypatch.setattr("maac_bench.precisions.torch.bmm", seen)
    return found


def test_backward_passes_are_in_tf32_too(monkeypatch):
    """Two products there for each one forward."""
    found = settings_of_products(monkeypatch)
    gradients(tf32_bmm, *operands())
    assert found == ["tf32"] * 6


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own, inside torch
def test_the_operator_is_kept_in_a_compiled_program(monkeypatch):
    """With the backward pass inside, as updates are compiled."""
    left, right = operands()
    expected = gradients(torch.bmm, left, right)
    compiled = fuse(lambda a, b: gradients(tf32_bmm, a, b), torch.device("cpu"))
    compiled(left, right)
    found = settings_of_products(monkeypatch)
    for own, exact in zip(compiled(left, right), expected, strict=True):
        torch.testing.assert_close(own, exact, rtol=1e-5, atol=1e-5)
    assert found == ["tf32"] * 6
