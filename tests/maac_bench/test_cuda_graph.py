"""Recordings: a GPU's where there is one, and everywhere one that carries out the call again."""

import pytest
import torch
from torch.utils._pytree import tree_leaves

from maac_bench.cuda_graph import CudaGraph, _Recording


class Repetition:
    """In a graph's place: the same call again, from and into the same storage."""

    def __init__(self, recording):
        self.recording, self.replays = recording, 0
        # Recording carries out nothing, so this counts as the first replay.
        recording._results = recording._call()

    def replay(self):
        self.replays += 1
        if self.replays > 1:
            found = tree_leaves(self.recording._call())
            for own, new in zip(tree_leaves(self.recording._results), found, strict=True):
                own.data.copy_(new)


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
        ),
    ]
)
def device(request, monkeypatch):
    if request.param == "cpu":
        monkeypatch.setattr(_Recording, "_record", lambda recording: Repetition(recording))
    return request.param


def test_a_recording_reads_its_arguments_anew(device):
    """And gives results that later calls leave alone, among them what the function changes."""
    total = torch.zeros(3, device=device)

    def add(pair, factor):
        total.add_(pair[0] * factor)
        return {"total": total, "second": pair[1] + 1.0}

    graph, kept = CudaGraph(add), []
    for k in range(4):
        numbers = torch.full((3,), float(k), device=device)
        kept.append(graph((numbers, numbers), 2.0))
    assert [found["total"][0].item() for found in kept] == [0.0, 2.0, 6.0, 12.0]
    assert [found["second"][0].item() for found in kept] == [1.0, 2.0, 3.0, 4.0]


def test_an_argument_that_was_changed_in_place_is_read_again(device):
    """Torch's fused optimisers do so without counting it in the tensor's version."""
    weight, graph = torch.ones(2, device=device, requires_grad=True), CudaGraph(lambda x: 3.0 * x)
    optimizer = torch.optim.Adam([weight], lr=1.0, fused=True)
    weight.grad = torch.ones_like(weight)
    for _ in range(4):
        assert torch.equal(graph(weight), 3.0 * weight)
        optimizer.step()


def test_other_shapes_and_constants_are_recorded_anew(device):
    graph = CudaGraph(lambda x, factor: factor * x)
    for _ in range(3):
        for size, factor in ((2, 1.0), (3, 1.0), (2, 5.0)):
            assert graph(torch.ones(size, device=device), factor).tolist() == [factor] * size


def test_the_same_function_is_recorded_once(device):
    calls = []

    def double(x):
        calls.append(x)
        return 2.0 * x

    graph = CudaGraph(double)
    for k in range(2):
        # Strides are the recording's own: a view is no other argument.
        assert graph(torch.full((3, 2), float(k), device=device)[:, 0]).tolist() == [2.0 * k] * 3
    assert len(calls) == 2
    assert len(graph._known) == 1


def test_gradients_are_recorded(device):
    """Of leaves among the arguments, as a model fit needs them."""

    def gradient(x, y):
        return torch.autograd.grad((x * x * y).sum(), x)

    graph = CudaGraph(gradient)
    for k in range(4):
        x = torch.full((2,), float(k), device=device, requires_grad=True)
        assert graph(x, torch.full((2,), 3.0, device=device))[0].tolist() == [6.0 * k] * 2
