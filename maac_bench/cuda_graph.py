"""Functions of tensors as one CUDA graph: their kernels recorded once and launched together.

An update is some hundred small kernels. Launched one by one, most of the time goes by between them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map_only, tree_unflatten

from maac_bench.streams import Streams


class CudaGraph:
    """`function`, recorded when it is called for the second time and replayed from then on.

    Its first call is carried out as usual, which is when a compiled function is compiled. Arguments
    of other shapes, or with other constants in them, are recorded anew. What the function changes
    besides its results must stay in the same storage, and nothing in it may look at a value: torch
    refuses to record what waits for the device.

    Args:
        function: of nested tuples and dictionaries of CUDA tensors and constants; so its results.
        streams: what it draws from, which goes on as without recording.
    """

    def __init__(self, function: Callable[..., Any], streams: Streams | None = None) -> None:
        self._function, self._streams = function, streams
        self._known: list[_Recording] = []

    def __call__(self, *arguments: Any) -> Any:  # noqa: ANN401
        """The function's results, in storage of their own."""
        leaves, structure = tree_flatten(arguments)
        for recording in self._known:
            if recording.fits(leaves, structure):
                return recording(leaves)
        self._known.append(_Recording(self._function, self._streams, leaves, structure))
        return self._known[-1](leaves)


class _Recording:
    """One graph, which reads its arguments from storage of its own."""

    def __init__(
        self,
        function: Callable[..., Any],
        streams: Streams | None,
        leaves: list[Any],
        structure: TreeSpec,
    ) -> None:
        self._function, self._streams, self._structure = function, streams, structure
        self._own = [_storage_like(leaf) if _is_tensor(leaf) else leaf for leaf in leaves]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._results: Any = None
        self._warm = False

    def fits(self, leaves: list[Any], structure: TreeSpec) -> bool:
        """Whether these arguments differ from the recorded ones in numbers alone."""
        return structure == self._structure and all(
            _alike(own, new) for own, new in zip(self._own, leaves, strict=True)
        )

    def __call__(self, leaves: list[Any]) -> Any:  # noqa: ANN401
        self._take(leaves)
        if not self._warm:
            results = tree_map_only(Tensor, Tensor.clone, self._call())
            self._warm = True
            return results
        if self._graph is None:
            self._graph = self._record()
        self._graph.replay()
        return tree_map_only(Tensor, Tensor.clone, self._results)

    def _call(self) -> Any:  # noqa: ANN401
        return self._function(*tree_unflatten(self._own, self._structure))

    def _record(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        for generator in self._streams.generators if self._streams else ():
            graph.register_generator_state(generator)
        # A graph that is freed during another's recording breaks it.
        gc.collect()
        device = next((own.device for own in self._own if _is_tensor(own)), None)
        stream = torch.cuda.Stream(device)
        with torch.cuda.device(device), torch.cuda.graph(graph, stream=stream):
            self._results = self._call()
        # Recording puts the generators' counters back on its own stream. On a busy device that can
        # come after the first replay has set them on this one, which then draws other numbers.
        torch.cuda.current_stream(device).wait_stream(stream)
        return graph

    @torch.no_grad()
    def _take(self, leaves: list[Any]) -> None:
        """Copy the arguments. All of them: not everything that changes a tensor leaves a trace."""
        held = [k for k, leaf in enumerate(leaves) if _is_tensor(leaf)]
        if held:
            torch._foreach_copy_([self._own[k] for k in held], [leaves[k] for k in held])


def _is_tensor(leaf: Any) -> bool:  # noqa: ANN401
    return isinstance(leaf, Tensor)


def _storage_like(leaf: Tensor) -> Tensor:
    own = torch.empty(leaf.shape, dtype=leaf.dtype, device=leaf.device)
    return own.requires_grad_(leaf.requires_grad)


def _alike(own: Any, new: Any) -> bool:  # noqa: ANN401
    if not (_is_tensor(own) and _is_tensor(new)):
        return type(own) is type(new) and bool(own == new)
    same = ("shape", "dtype", "device", "requires_grad")
    return all(getattr(own, name) == getattr(new, name) for name in same)
