import pytest
import torch

from maac_bench.replay import Replay, draw_batches, living
from maac_bench.streams import Streams
from maac_bench.types import Transition


def numbered(first: int, count: int) -> Transition:
    """Rows that say which they are: seed 0 counts from `first`, seed 1 from 1000 + `first`."""
    number = torch.arange(first, first + count).float() + 1e3 * torch.arange(2).unsqueeze(1)
    pair = torch.stack([number, -number], dim=-1)
    return Transition(pair, number.unsqueeze(-1) + 0.1, number + 0.2, pair + 0.3, number % 2)


def numbers(replay: Replay) -> list[int]:
    """Which rows of seed 0 are held, in storage order."""
    return replay.all().state[0, :, 0].int().tolist()


def filled(capacity: int, *batches: int) -> Replay:
    replay, first = Replay(2, capacity, 2, 1), 0
    for count in batches:
        replay.add(numbered(first, count))
        first += count
    return replay


def same(one: Transition, other: Transition) -> bool:
    return all(torch.equal(x, y) for x, y in zip(one, other, strict=True))


def test_what_comes_in_comes_out():
    data = numbered(0, 4)
    replay = Replay(2, 10, 2, 1)
    replay.add(data)
    assert len(replay) == replay.added == 4
    assert same(replay.all(), data)


def test_growth_keeps_every_row_and_at_most_doubles():
    replay = filled(2**40, 700, 700, 700, 5000)
    assert numbers(replay) == list(range(7100))
    assert same(replay.all(), numbered(0, 7100))
    held = replay.rows()
    assert held.untyped_storage().nbytes() <= 2 * held.numel() * held.element_size()


def test_growth_stops_at_the_capacity():
    replay = filled(1500, 1000, 400, 300)
    assert len(replay) == 1500
    assert replay.rows().untyped_storage().nbytes() == replay.rows().numel() * 4
    assert sorted(numbers(replay)) == list(range(200, 1700))


@pytest.mark.parametrize("batches", [(3, 4), (5, 2), (1, 1, 5), (5, 5, 5, 1)])
def test_beyond_the_capacity_the_oldest_go(batches):
    replay, total = filled(5, *batches), sum(batches)
    assert len(replay) == 5
    assert replay.added == total
    assert sorted(numbers(replay)) == list(range(total - 5, total))


def test_take_serves_every_seed_from_its_own_rows():
    replay = filled(10, 4)
    taken = replay.take(torch.tensor([[0, 2, 2], [3, 1, 0]]))
    assert taken.state[..., 0].tolist() == [[0, 2, 2], [1003, 1001, 1000]]
    assert taken.terminated.tolist() == [[0, 0, 0], [1, 1, 0]]
    data = numbered(0, 4)
    for field, whole in zip(taken, data, strict=True):
        assert torch.equal(field[1, 0], whole[1, 3])


def test_take_counts_from_the_oldest_until_the_capacity():
    replay = filled(5000, 2000)
    index = torch.tensor([[0, 1999], [0, 1999]])
    assert replay.take(index).state[0, :, 0].tolist() == [0, 1999]


@pytest.mark.parametrize(
    ("capacity", "batches"),
    [(8, (3,)), (8, (8,)), (8, (6, 5)), (8, (8, 8, 3)), (1500, (1400, 400))],
)
def test_a_restored_replay_goes_on_the_same(capacity, batches):
    replay = filled(capacity, *batches)
    twin = Replay(2, capacity, 2, 1)
    twin.restore(replay.rows().clone(), replay.added)
    for first, count in ((500, 2), (600, 7)):
        assert len(twin) == len(replay)
        assert same(twin.all(), replay.all())
        index = torch.arange(len(replay)).expand(2, -1)
        assert same(twin.take(index), replay.take(index))
        for each in (replay, twin):
            each.add(numbered(first, count))
    assert same(twin.all(), replay.all())


def test_restoring_replaces_what_was_held():
    replay, other = filled(8, 6), filled(8, 2)
    replay.restore(other.rows().clone(), 2)
    assert numbers(replay) == [0, 1]


def test_a_batch_larger_than_the_capacity_is_refused():
    with pytest.raises(ValueError, match="6 rows do not fit a capacity of 5"):
        filled(5, 6)


def test_a_replay_without_room_is_refused():
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        Replay(1, 0, 2, 1)


def test_dead_rows_become_living_ones_spread_over_all_of_them():
    alive = torch.tensor([[True] * 5 + [False, True] + [False] * 3, [True] * 10])
    number = torch.arange(10.0).repeat(2, 1)
    column = number.unsqueeze(-1)
    data = Transition(column, column, number, column, number)
    found = living(data, alive)
    assert found.reward.tolist() == [[0, 0, 1, 1, 2, 3, 3, 4, 4, 6], list(range(10))]
    assert torch.equal(found.state[..., 0], found.reward)


def test_a_batch_much_larger_than_the_storage_is_taken_in(monkeypatch):
    monkeypatch.setattr("maac_bench.replay._FIRST_ROWS", 4)
    assert numbers(filled(100, 1, 50)) == list(range(51))


def test_batches_drawn_together_are_rows_of_their_own_seeds_and_all_different():
    first, second = filled(10, 10), Replay(2, 10, 2, 1)
    second.add(numbered(100, 10))
    batches = draw_batches([(first, 3), (second, 5)], Streams((0, 1), "test"), 4)
    assert len(batches) == 4
    known = {tuple(row) for data in (first, second) for row in data.rows().flatten(0, 1).tolist()}
    for batch in batches:
        number = batch.state[..., 0]
        assert number.shape == (2, 8)
        assert (number[1] >= 1000).all()
        assert (number[0] < 1000).all()
        assert (number[:, :3] % 1000 < 10).all()
        assert (number[:, 3:] % 1000 >= 100).all()
        assert all(column.is_contiguous() for column in batch)
        columns = (batch.state, batch.action, batch.next_state)
        ends = (batch.reward.unsqueeze(-1), batch.terminated.unsqueeze(-1))
        rows = torch.cat([*columns, *ends], dim=-1).flatten(0, 1).tolist()
        assert {tuple(row) for row in rows} <= known
    drawn = [tuple(batch.state[0, :, 0].tolist()) for batch in batches]
    assert len(set(drawn)) == 4


def test_a_replay_without_a_share_is_not_drawn_from():
    empty = Replay(2, 10, 2, 1)
    (batch,) = draw_batches([(filled(10, 10), 3), (empty, 0)], Streams((0, 1), "test"), 1)
    assert batch.reward.shape == (2, 3)


def test_one_batch_is_what_the_next_draws_of_its_stream_take():
    replay, stream = filled(10, 10), Streams((0, 1), "test")
    (batch,) = draw_batches([(replay, 6)], Streams((0, 1), "test"), 1)
    assert same(batch, replay.take(stream.integers(10, 6)))
