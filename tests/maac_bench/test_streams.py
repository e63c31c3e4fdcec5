import pytest
import torch

from maac_bench.streams import Streams


def test_a_seed_draws_the_same_numbers_alone_and_in_a_stack():
    alone, stacked = Streams([7], "noise"), Streams([3, 7, 11], "noise")
    for draw in (
        lambda s: s.normal(5, 2),
        lambda s: s.uniform(4),
        lambda s: s.integers(10, 6),
        lambda s: s.permutations(9, 2),
    ):
        assert torch.equal(draw(alone)[0], draw(stacked)[1])


def test_other_seeds_purposes_and_cells_give_other_numbers():
    draws = [
        Streams([key], purpose).normal(8)
        for key, purpose in ((0, "a"), (1, "a"), (0, "b"), ((0, 1), "a"), ((1, 0), "a"))
    ]
    for i, first in enumerate(draws):
        for second in draws[:i]:
            assert not torch.equal(first, second)


def test_draws_repeat_and_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    assert torch.equal(Streams([5], "x").normal(3), Streams([5], "x").normal(3))
    assert torch.equal(before, torch.random.get_rng_state())


def test_negative_seeds_are_refused():
    with pytest.raises(ValueError, match="seeds must be at least 0, got -1"):
        Streams([-1], "x")


def test_permutations_are_permutations_and_uniform():
    drawn = Streams([0], "p").permutations(4, 4000)[0]
    assert torch.equal(drawn.sort(dim=-1).values, torch.arange(4).expand(4000, 4))
    counts = torch.stack([(drawn == k).sum(dim=0) for k in range(4)]).double()
    # Binomial(4000, 1/4): standard deviation 27.4.
    assert (counts - 1000).abs().max() < 5 * 27.4
