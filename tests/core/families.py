"""Every implementation that the contract tests run over: a new family is one entry here."""

import torch
from hypothesis import strategies as st

import hollowpde as hp
from hollowpde.densities import CorrelatedMixture
from hollowpde.nets import (
    Scaled,
    Transformer,
    TransformerSpec,
    erf,
    gelu,
    sigmoid,
    silu,
    sin,
    softplus,
    tanh,
)
from hollowpde.operators import Field

DIMS = st.integers(1, 8)
WIDTHS = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)
ACTIVATIONS = st.sampled_from([tanh, sigmoid, silu, softplus, gelu, erf, sin])

FEATURES = st.integers(1, 5)

# Strategies of specs, given the dimension. All of them see every neighbour.
CONDITIONERS = {
    "MaskedMLP": lambda dim: st.builds(
        hp.MaskedMLP, hidden=WIDTHS, features=st.integers(2, 5), activation=ACTIVATIONS
    ),
    "ExclusivePooling": lambda dim: st.builds(
        hp.ExclusivePooling,
        hidden=WIDTHS,
        features=FEATURES,
        identity=st.booleans(),
        activation=ACTIVATIONS,
    ),
    "ExclusiveAttention": lambda dim: st.builds(
        lambda heads, each, **sizes: hp.ExclusiveAttention(heads * each, heads, **sizes),
        heads=st.integers(1, 3),
        each=st.integers(1, 4),
        layers=st.integers(1, 2),
        features=FEATURES,
        activation=ACTIVATIONS,
    ),
    "Convolution1d": lambda dim: st.builds(
        hp.Convolution1d,
        channels=st.integers(2, 6),
        features=FEATURES,
        periodic=st.booleans(),
        activation=ACTIVATIONS,
    ),
    "Convolution2d": lambda dim: st.builds(
        hp.Convolution2d,
        shape=st.sampled_from([(h, dim // h) for h in range(1, dim + 1) if dim % h == 0]),
        channels=st.integers(2, 6),
        features=FEATURES,
        periodic=st.booleans(),
        activation=ACTIVATIONS,
    ),
}
# Strategies of specs, for a network of any dimension.
SHARED_MLPS = st.builds(hp.SharedMLP, hidden=WIDTHS, activation=ACTIVATIONS)
TRANSFORMERS = {
    "SharedMLP": SHARED_MLPS,
    "SeparateMLP": st.builds(hp.SeparateMLP, hidden=WIDTHS, activation=ACTIVATIONS),
    "AffineGate": st.builds(
        hp.AffineGate, gates=st.integers(1, 3), own=st.integers(0, 3), activation=ACTIVATIONS
    ),
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
    "CorrelatedMixture": lambda dim: st.builds(
        lambda components, hidden: lambda: CorrelatedMixture(dim, components, hidden),
        components=st.integers(1, 3),
        hidden=st.integers(1, 8),
    ),
}


def periods(dim):
    """None, one period for all coordinates, or some or none for each."""
    some = st.sampled_from([None, 2.0, 5.0])
    return some | st.lists(some, min_size=dim, max_size=dim).map(tuple)


SCALARS = {
    "SeparableNet": lambda dim: st.builds(
        lambda **sizes: lambda: hp.SeparableNet(dim, **sizes),
        features=FEATURES,
        inner=WIDTHS,
        outer=WIDTHS,
        activation=ACTIVATIONS,
        shared=st.booleans(),
        period=periods(dim),
    ),
    "ProductNet": lambda dim: st.builds(
        lambda **sizes: lambda: hp.ProductNet(dim, **sizes),
        rank=FEATURES,
        inner=WIDTHS,
        activation=ACTIVATIONS,
        shared=st.booleans(),
        period=periods(dim),
    ),
    "RidgeNet": lambda dim: st.builds(
        lambda **sizes: lambda: hp.RidgeNet(dim, **sizes),
        hidden=WIDTHS,
        activation=ACTIVATIONS,
        spread=st.sampled_from([None, 3.0]),
    ),
}

# Every conditioner and every transformer, each with the default of the other.
NETWORKS = [(c, "SharedMLP") for c in CONDITIONERS]
NETWORKS += [("MaskedMLP", t) for t in TRANSFORMERS if t != "SharedMLP"]


@st.composite
def networks(draw, conditioner="MaskedMLP", transformer="SharedMLP", dims=DIMS):
    """A factory of a hollow network of any size, sometimes with a context."""
    dim = draw(dims)
    arguments = {
        "dim": dim,
        "context": draw(st.sampled_from([0, 0, 2])),
        "conditioner": draw(CONDITIONERS[conditioner](dim)),
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
