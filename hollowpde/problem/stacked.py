"""Losses of many modules of the same form, and their gradients, on stacked parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils.data import default_collate

Losses: TypeAlias = Callable[[Any, Any], Mapping[str, Tensor]]


def losses_and_gradients(
    losses: Losses, modules: Sequence[nn.Module], batches: Sequence[Any]
) -> list[tuple[dict[str, Tensor], list[Tensor]]]:
    """Of each module, with a batch of its own: named losses, and the gradient of their sum.

    Arguments:
        losses: of one module and its batch.
        modules: the same but for the values of parameters and buffers.
        batches: named tuples of tensors, of the same shapes.

    Returns:
        gradients by the parameters that require one, in the order of `parameters()`.
    """
    places = dict(_places(modules[0]))
    # What is in several places is one tensor, and stacked once.
    first = {id(tensor): name for name, tensor in reversed(places.items())}
    held = [dict(_places(module)) for module in modules]
    stacked = {
        name: torch.stack([tensors[name].detach() for tensors in held])
        for name in (name for name, tensor in places.items() if first[id(tensor)] == name)
    }
    trained = [stacked[name].requires_grad_() for name in stacked if places[name].requires_grad]
    applied = _Applied(losses, modules[0])

    def one(tensors: Mapping[str, Tensor], batch: Any) -> Mapping[str, Tensor]:
        put = {f"module.{name}": tensors[first[id(p)]] for name, p in places.items()}
        return functional_call(applied, put, (batch,), tie_weights=False)

    values = vmap(one)(stacked, default_collate(list(batches)))
    total = torch.stack(list(values.values())).sum()
    gradients = torch.autograd.grad(total, trained, materialize_grads=True)
    return [
        (
            {name: value[k].detach() for name, value in values.items()},
            [gradient[k].contiguous() for gradient in gradients],
        )
        for k in range(len(modules))
    ]


def _places(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Where parameters and buffers are held; a part that is held twice is one place."""
    for prefix, part in module.named_modules():
        yield from part.named_parameters(prefix, recurse=False)
        yield from part.named_buffers(prefix, recurse=False)


class _Applied(nn.Module):
    """A module as what is called with a batch alone, as `functional_call` wants it."""

    def __init__(self, losses: Losses, module: nn.Module) -> None:
        super().__init__()
        self.losses, self.module = losses, module

    def forward(self, batch: Any) -> Mapping[str, Tensor]:
        return self.losses(self.module, batch)
