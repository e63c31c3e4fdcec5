import typing

import numpy as np
import pytest
import torch

from maac_bench.config import Transform
from maac_bench.critics import TRANSFORMS, QuadraticCritic, init_critics, polyak
from maac_bench.nets import Hidden, Normalizer
from maac_bench.streams import Streams


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("stack", [(), (2,)])
@pytest.mark.parametrize("batch", [(), (4,), (4, 5)])
def test_quadratic_critic_is_the_quadratic_form(stack, batch):
    rng = np.random.default_rng(0)
    G, d = rng.standard_normal((*stack, 5, 5)), rng.standard_normal(stack)
    state, action = (
        rng.standard_normal((*stack, *batch, 3)),
        rng.standard_normal((*stack, *batch, 2)),
    )
    value = QuadraticCritic(torch.tensor(G), torch.tensor(d))(
        torch.tensor(state), torch.tensor(action)
    )
    assert value.shape == (1, *stack, *batch)
    x = np.concatenate([state, action], axis=-1)
    for index in np.ndindex(*stack, *batch):
        which = index[: len(stack)]
        expected = -x[index] @ G[which] @ x[index] - d[which]
        assert value[0][index].item() == pytest.approx(expected)


def test_neural_critics_are_independent_and_scaled():
    inputs = Normalizer(torch.zeros(2, 3), torch.ones(2, 3))
    critics = init_critics(
        Streams([0, 1], "critic"), inputs, torch.tensor([1.0, 100.0]), Hidden((8,), "relu"), count=2
    )
    state, action = torch.randn(2, 6, 2), torch.randn(2, 6, 1)
    values = critics(state, action)
    assert values.shape == (2, 2, 6)
    assert not torch.allclose(values[0], values[1])
    unit = critics._replace(scale=torch.ones(2))(state, action)
    torch.testing.assert_close(values[:, 1], 100.0 * unit[:, 1])
    torch.testing.assert_close(values[:, 0], unit[:, 0])


@pytest.mark.usefixtures("float64")
def test_the_square_root_is_that_of_the_paper_and_exactly_undone():
    """Pohlen et al. 2018: `h(v) = sign(v) (sqrt(|v| + 1) - 1)`, in each seed's own unit."""
    inputs = Normalizer(torch.zeros(2, 3), torch.ones(2, 3))
    unit = torch.tensor([1.0, 50.0])
    critics = init_critics(
        Streams([0, 1], "critic"), inputs, unit, Hidden((8,), "relu"), transform="sqrt"
    )
    size = torch.tensor([0.0, 1e-9, 0.3, 7.0, 600.0, 1e8])
    values = torch.cat([-size, size]).expand(2, -1)
    outputs = critics.encode(values)
    scaled = values / unit.unsqueeze(-1)
    expected = unit.unsqueeze(-1) * scaled.sign() * ((scaled.abs() + 1.0).sqrt() - 1.0)
    torch.testing.assert_close(outputs, expected, rtol=1e-6, atol=1e-14)
    torch.testing.assert_close(critics.decode(outputs[None])[0], values, rtol=1e-12, atol=0.0)
    state, action = torch.randn(2, 6, 2), torch.randn(2, 6, 1)
    plain = critics._replace(transform="identity")(state, action)
    torch.testing.assert_close(critics.outputs(state, action), plain)
    torch.testing.assert_close(critics.encode(critics(state, action)[0]), plain[0])


def test_polyak_moves_by_its_rate():
    torch.testing.assert_close(
        polyak(torch.tensor([0.0]), torch.tensor([10.0]), 0.05), torch.tensor([0.5])
    )


def test_every_transform_that_can_be_chosen_is_there():
    assert set(typing.get_args(Transform)) == set(TRANSFORMS)
