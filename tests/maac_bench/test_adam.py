"""Adam against torch's own."""

import pytest
import torch

from maac_bench.adam import adam_step, init_adam


def test_steps_are_those_of_torch():
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator).double() for shape in ((2, 3, 4), (2, 5))]
    own = [p.clone().requires_grad_() for p in start]
    peers = [p.clone().requires_grad_() for p in start]
    adam, peer = init_adam(own), torch.optim.Adam(peers, lr=3e-2)
    for step in range(1, 30):
        # of very different sizes, and at times zero
        gradient = [torch.randn(p.shape, generator=generator) * 10.0 ** (step % 7 - 4) for p in own]
        gradient[1][0] = 0.0
        adam_step(adam, own, [g.double() for g in gradient], 3e-2)
        for parameter, g in zip(peers, gradient, strict=True):
            parameter.grad = g.double()
        peer.step()
        assert int(adam.steps) == step
        for mine, other in zip(own, peers, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)
            assert mine.is_leaf


def test_a_parameter_without_its_gradient_is_refused():
    parameters = [torch.zeros(2, requires_grad=True)] * 2
    with pytest.raises(ValueError, match="shorter"):
        adam_step(init_adam(parameters), parameters, [torch.ones(2)], 1e-3)
