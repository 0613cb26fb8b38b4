"""Every implementation that the contract tests run over: a new family is one entry here."""

import torch
from hypothesis import strategies as st

import hollowpde as hp
from hollowpde.nets import (
    Scaled,
    Transformer,
    TransformerSpec,
    sigmoid,
    silu,
    softplus,
    tanh,
)
from hollowpde.operators import Field

DIMS = st.integers(1, 8)
WIDTHS = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)
ACTIVATIONS = st.sampled_from([tanh, sigmoid, silu, softplus])

# Strategies of specs, for a network of any dimension.
CONDITIONERS = {
    "MaskedMLP": st.builds(
        hp.MaskedMLP, hidden=WIDTHS, features=st.integers(2, 5), activation=ACTIVATIONS
    ),
}
SHARED_MLPS = st.builds(hp.SharedMLP, hidden=WIDTHS, activation=ACTIVATIONS)
TRANSFORMERS = {
    "SharedMLP": SHARED_MLPS,
    "a forward alone": SHARED_MLPS.map(lambda spec: ForwardAlone(spec)),
}

# A field made from a field.
WRAPPERS = {
    "Autonomous": hp.Autonomous,
    "Positive": hp.Positive,
    "Scaled": lambda field: Scaled(field, torch.linspace(0.5, 2.0, field.dim)),
    "nested": lambda field: Scaled(
        hp.Positive(hp.Autonomous(field), floor=0.1), torch.linspace(0.5, 2.0, field.dim)
    ),
}

# Strategies of factories, given the dimension.
DENSITIES = {
    "GaussianMixture": lambda dim: st.builds(
        lambda components, hidden: lambda: hp.GaussianMixture(dim, components, hidden),
        components=st.integers(1, 4),
        hidden=st.integers(1, 8),
    ),
}

NETWORKS = [(c, t) for c in CONDITIONERS for t in TRANSFORMERS]


@st.composite
def networks(draw, conditioner="MaskedMLP", transformer="SharedMLP", dims=DIMS):
    """A factory of a hollow network of any size, sometimes with a context."""
    arguments = {
        "dim": draw(dims),
        "context": draw(st.sampled_from([0, 0, 2])),
        "conditioner": draw(CONDITIONERS[conditioner]),
        "transformer": draw(TRANSFORMERS[transformer]),
    }
    return lambda: hp.HollowNet(**arguments)


class ForwardAlone(TransformerSpec):
    """A transformer that has no derivatives of its own: those of the base class."""

    class Module(Transformer):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x, h, c):
            return self.inner(x, h, c)

    def __init__(self, spec):
        self.spec = spec

    def build(self, dim, features, covariates):
        return self.Module(self.spec.build(dim, features, covariates))


class Explicit(Field):
    """A field given by a formula, differentiated by brute force."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def dimwise(self, t, x, order):
        if order == 0:  # also within forward mode, where brute force does not work
            return (self.formula(t, x),)
        return hp.reference.dimwise(self.formula, t, x, order=order)
