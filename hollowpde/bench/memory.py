"""Memory of a training step, counted rather than sampled: the same at every run."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hollowpde.nets import blocks

MEGABYTE = 2**20


def saved(outputs: Callable[[], object], net: nn.Module, x: Tensor) -> int:
    """Bytes that autograd keeps for the backward pass of `outputs()`, besides the net and x."""
    known = _storages(net, x)
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used again

    def pack(y: Tensor) -> Tensor:
        storage = y.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage
        return y

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda y: y):
        outputs()
    return sum(storage.nbytes() for storage in kept.values())


def peak(step: Callable[[], object], net: nn.Module, x: Tensor) -> int:
    """The most bytes that the tensors of `step()` hold at any time, besides the net and x."""
    net.zero_grad()
    with _Tensors(_storages(net, x)) as tensors:
        step()
    net.zero_grad()
    return tensors.peak


class _Tensors(TorchDispatchMode):
    """Follows the memory of every tensor that an operation returns, until it is given back.

    What an operation takes for itself and gives back before it returns is not seen.
    """

    def __init__(self, known: set[int]) -> None:
        super().__init__()
        self.alive, self.now, self.peak = known, 0, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        out = func(*args, **(kwargs or {}))
        for y in tree_leaves(out):
            if isinstance(y, Tensor):
                self._follow(y.untyped_storage())
        return out

    def _follow(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        if address in self.alive or size == 0:
            return
        self.alive.add(address)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, address, size).atexit = False

    def _release(self, address: int, size: int) -> None:
        self.alive.remove(address)
        self.now -= size


def _storages(net: nn.Module, x: Tensor) -> set[int]:
    return {y.untyped_storage().data_ptr() for y in (x, *net.parameters(), *net.buffers())}


@contextmanager
def naive_autograd() -> Iterator[None]:
    """Transformers evaluated whole, with all that they compute kept for the backward pass."""
    size, blocks.SIZE = blocks.SIZE, 2**62
    try:
        yield
    finally:
        blocks.SIZE = size
