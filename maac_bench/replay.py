"""Replay of stacked seeds: one table of rows per seed, all equally long."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maac_bench.streams import Streams
from maac_bench.types import Transition

_FIRST_ROWS = 1024


def take_rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows of table [seeds, N, f] at index [seeds, ...] -> [seeds, ..., f]."""
    offset = torch.arange(table.shape[0], device=table.device) * table.shape[1]
    offset = offset.reshape(-1, *[1] * (index.dim() - 1))
    flat = table.flatten(0, 1).index_select(0, (index + offset).flatten())
    return flat.reshape(*index.shape, table.shape[-1])


class Replay:
    """Transitions in the order they came, [seeds, size, ...]; beyond the capacity the oldest go.

    Storage grows by doubling, so a large capacity costs nothing until it is used.

    Args:
        seeds: number of stacked programs.
        capacity: rows per seed at most.
        state_size: n.
        action_size: m.
        device: where the rows live.
    """

    def __init__(
        self,
        seeds: int,
        capacity: int,
        state_size: int,
        action_size: int,
        device: torch.device | str = "cpu",
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self.capacity = capacity
        self.added = 0
        self._split = [state_size, action_size, state_size, 1, 1]
        first = min(capacity, _FIRST_ROWS)
        self._rows = torch.zeros(seeds, first, sum(self._split), device=device)

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, data: Transition) -> None:
        """Append [seeds, B, ...]; B at most the capacity."""
        rows = torch.cat(
            [
                data.state,
                data.action,
                data.next_state,
                data.reward.unsqueeze(-1),
                data.terminated.unsqueeze(-1),
            ],
            dim=-1,
        )
        count = rows.shape[1]
        if count > self.capacity:
            raise ValueError(f"{count} rows do not fit a capacity of {self.capacity}")
        self._reserve(self.added + count)
        begin = self.added % self.capacity
        head = min(count, self.capacity - begin)
        self._rows[:, begin : begin + head] = rows[:, :head]
        self._rows[:, : count - head] = rows[:, head:]
        self.added += count

    def take(self, index: Tensor) -> Transition:
        """The rows at index [seeds, ...]; 0 is the oldest until the capacity is reached."""
        return self.unpack(take_rows(self._rows, index))

    def all(self) -> Transition:
        """Everything that is held, as views."""
        return self.unpack(self._rows[:, : len(self)])

    def rows(self) -> Tensor:
        """What is held as one table [seeds, size, width]: what `restore` needs."""
        return self._rows[:, : len(self)]

    def restore(self, rows: Tensor, added: int) -> None:
        """Continue with these rows, of which `added` had come in all."""
        self.added = 0
        self._reserve(rows.shape[1])
        self._rows[:, : rows.shape[1]] = rows
        self.added = added

    def _reserve(self, rows: int) -> None:
        length = self._rows.shape[1]
        if rows <= length or length == self.capacity:
            return
        longer = min(max(rows, 2 * length), self.capacity)
        table = self._rows.new_zeros(self._rows.shape[0], longer, self._rows.shape[2])
        table[:, :length] = self._rows
        self._rows = table

    @property
    def device(self) -> torch.device:
        """Where the rows live."""
        return self._rows.device

    def unpack(self, rows: Tensor) -> Transition:
        """Rows [seeds, ..., width], as `rows` gives them, as transitions."""
        state, action, next_state, reward, terminated = rows.split(self._split, dim=-1)
        return Transition(state, action, reward.squeeze(-1), next_state, terminated.squeeze(-1))


def draw_batches(
    shares: Sequence[tuple[Replay, int]], stream: Streams, count: int
) -> list[Transition]:
    """Batches [seeds, B, ...], drawn with replacement; contiguous, so all have the same layout.

    Args:
        shares: replays of the same transitions, and how many rows of a batch are from each.
        stream: which rows.
        count: of batches.
    """
    drawn = [
        replay.take(stream.integers(len(replay), count, rows)) for replay, rows in shares if rows
    ]
    joined = (torch.cat(parts, dim=2) for parts in zip(*drawn, strict=True))
    batches = (column.movedim(1, 0).contiguous().unbind() for column in joined)
    return [Transition(*batch) for batch in zip(*batches, strict=True)]


def living(data: Transition, alive: Tensor) -> Transition:
    """Equally many rows of every seed: living ones, evenly spread, in the place of dead ones."""
    if bool(alive.all()):
        return data
    order = alive.to(torch.int8).argsort(dim=1, descending=True, stable=True)
    rows, living_rows = alive.shape[1], alive.sum(dim=1, keepdim=True)
    place = torch.arange(rows, device=alive.device) * living_rows // rows
    index = order.gather(1, place)
    return Transition(
        *(
            torch.take_along_dim(x, index.unsqueeze(-1) if x.dim() == 3 else index, dim=1)
            for x in data
        )
    )
