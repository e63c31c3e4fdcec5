"""What is counted as a matrix product, and that the floor makes exactly these."""

import torch

from benchmarks.floor import flops, matrix_products, measured, replay
from maac_bench.precisions import tf32_bmm


def linear_layer(batch=7, inputs=5, outputs=3):
    x, weight = torch.randn(batch, inputs), torch.randn(outputs, inputs, requires_grad=True)
    bias = torch.randn(outputs, requires_grad=True)
    return lambda: torch.nn.functional.linear(x, weight, bias).sum().backward()


def test_forward_and_backward_of_a_layer_are_two_products():
    """The input needs no gradient: forward, and the weight's gradient; two per multiply-add."""
    assert flops(matrix_products(linear_layer())) == 2 * (2 * 7 * 5 * 3)


def test_stacked_products_count_once_for_every_member():
    stacked = torch.randn(4, 7, 5), torch.randn(4, 5, 3)
    assert flops(matrix_products(lambda: torch.bmm(*stacked))) == 4 * 2 * 7 * 5 * 3
    with_bias = torch.randn(4, 1, 3)
    assert flops(matrix_products(lambda: torch.baddbmm(with_bias, *stacked))) == 4 * 2 * 7 * 5 * 3


def test_the_floor_makes_the_products_that_were_counted():
    """With their memory layouts, and no others."""
    a, b = torch.randn(6, 4), torch.randn(6, 5)
    stacked = torch.randn(2, 3, 4), torch.randn(2, 4, 1)

    def work():
        a.T @ b
        a.T @ b
        torch.randn(5, 2).mul(2.0)
        tf32_bmm(*stacked)

    shapes = matrix_products(work)
    assert flops(shapes) == 2 * (2 * 4 * 6 * 5) + 2 * 2 * 3 * 4
    assert sum(product.tf32 for product in shapes) == 1
    assert matrix_products(replay(shapes)) == shapes


def test_products_are_counted_before_the_function_is_prepared():
    """A compiled function hides them."""
    calls = []
    multiply = linear_layer()

    def step():
        calls.append("step")
        multiply()

    row = measured("layer", step, prepare=lambda: calls.append("prepare"))
    assert calls[:4] == ["step", "step", "prepare", "step"]
    assert row["name"] == "layer"
    assert row["gflop"] == 2 * (2 * 7 * 5 * 3) / 1e9
    assert row["ms"] > 0.0
    assert row["per_second"] == 1e3 / row["ms"]
