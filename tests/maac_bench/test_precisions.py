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


def test_the_permission_ends_with_the_product():
    before = torch.backends.cuda.matmul.fp32_precision
    tf32_bmm(*operands())
    assert torch.backends.cuda.matmul.fp32_precision == before


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own, inside torch
def test_the_operator_is_kept_in_a_compiled_program():
    """With the backward pass inside, as updates are compiled."""
    left, right = operands()
    compiled = fuse(lambda a, b: gradients(tf32_bmm, a, b), torch.device("cpu"))
    for found, exact in zip(compiled(left, right), gradients(torch.bmm, left, right), strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)
