import numpy as np
import pytest
import torch

from maac_bench.critics import QuadraticCritic, init_critics, polyak
from maac_bench.nets import Normalizer
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
        Streams([0, 1], "critic"), inputs, torch.tensor([1.0, 100.0]), hidden=(8,), count=2
    )
    state, action = torch.randn(2, 6, 2), torch.randn(2, 6, 1)
    values = critics(state, action)
    assert values.shape == (2, 2, 6)
    assert not torch.allclose(values[0], values[1])
    unit = critics._replace(scale=torch.ones(2))(state, action)
    torch.testing.assert_close(values[:, 1], 100.0 * unit[:, 1])
    torch.testing.assert_close(values[:, 0], unit[:, 0])


def test_polyak_moves_by_its_rate():
    torch.testing.assert_close(
        polyak(torch.tensor([0.0]), torch.tensor([10.0]), 0.05), torch.tensor([0.5])
    )
