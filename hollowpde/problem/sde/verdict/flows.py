"""What a density that is a flow does not tell."""

from __future__ import annotations

from hollowpde.densities import CNF, Density


def velocity_of_many(density: Density) -> list[str]:
    """A sentence if the density is a flow of several dimensions, none otherwise."""
    if not isinstance(density, CNF) or density.dim == 1:
        return []
    return [
        "the density is carried by a flow, whose velocity is one of many: fields w with "
        "div(p w) = 0 can be added to it without any change of p. It is neither the drift nor "
        "the probability current of the process."
    ]
