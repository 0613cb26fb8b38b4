"""Every contract check fails on a field that breaks what it checks, and says what is wrong."""

import pytest
import torch
from torch import nn

import hollowpde as hp
import hollowpde.testing as checks
from hollowpde import taylor
from hollowpde.nets import Activation, Conditioner, Transformer, silu, tanh
from hollowpde.operators import Field
from hollowpde.testing import fields


def broken(match):
    return pytest.raises(AssertionError, match=match)


class Wrapped(Conditioner):
    """A conditioner changed by a function of h and x."""

    def __init__(self, inner, change):
        super().__init__()
        self.inner, self.change, self.features = inner, change, inner.features

    def forward(self, x, c):
        return self.change(self.inner(x, c), x)


def net_with(change, dim=4):
    net = hp.HollowNet(dim)
    net.conditioner = Wrapped(net.conditioner, change)
    return net


def test_the_unchanged_network_passes():
    checks.check_field(net_with(lambda h, x: h))


class Changed(Field):
    """A field whose derivatives of each order are changed by a function."""

    def __init__(self, inner, change):
        super().__init__()
        self.inner, self.change = inner, change

    def dimwise(self, t, x, order):
        return tuple(self.change(k, y) for k, y in enumerate(self.inner.dimwise(t, x, order)))


# Hollow


@pytest.mark.parametrize("size", [1.0, 1e-3])
def test_a_leak_is_found(size):
    net = net_with(lambda h, x: h + size * x.unsqueeze(-1))
    with broken("h_0 changes by .* when x_0 moves by 1 .*not hollow"):
        checks.check_hollow(net)
    with broken("derivative of order 1"):
        checks.check_derivatives(net)


def test_a_leak_at_one_dimension_is_found():
    def leak(h, x):
        return h + torch.nn.functional.one_hot(torch.tensor(2), 4).unsqueeze(-1) * x.unsqueeze(-1)

    with broken("h_2 changes"):
        checks.check_hollow(net_with(leak))


def test_a_leak_at_the_last_of_many_dimensions_is_found():
    def leak(h, x):
        return torch.cat([h[..., :-1, :], h[..., -1:, :] + x[..., -1:, None]], dim=-2)

    with broken("h_99 changes"):
        checks.check_hollow(net_with(leak, dim=100), dims=2)


def test_total_minus_own_leaks_by_rounding():
    net = net_with(lambda h, x: 0 * h + (x.sum(-1, keepdim=True) - x).unsqueeze(-1))
    with broken("h_. changes"):
        checks.check_hollow(net)


def test_masks_that_let_a_unit_see_too_much_are_found():
    for layer in range(3):
        net = hp.HollowNet(4)
        c = net.conditioner
        linear = [c.first, *c.hidden, c.out][layer]
        mask = linear.mask_0[:, : linear.spans[0][0][1] - linear.spans[0][0][0]]
        mask.copy_(mask.roll(1, 1).maximum(mask))
        with broken("is not hollow"):
            checks.check_hollow(net)


class Donuts(Conditioner):
    """Convolutions over a chain with a kernel of five, none of which sees its own centre."""

    def __init__(self, layers, channels=4):
        super().__init__()
        self.features = channels
        self.layers = nn.ModuleList(
            nn.Linear(4 * (channels if layer else 1), channels) for layer in range(layers)
        )

    def forward(self, x, c):
        z = x.unsqueeze(-1)
        for layer in self.layers:
            taps = [nn.functional.pad(z, (0, 0, by, -by)) for by in (-2, -1, 1, 2)]
            z = layer(torch.cat(taps, -1)).tanh()
        return z


class FromTheQueries(nn.Module):
    """An attention layer whose keys and values are the states, as in ordinary self-attention."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, q, s):
        return self.layer(q, q)


def net_of_donuts(layers):
    net = hp.HollowNet(6)
    net.conditioner = Donuts(layers, net.conditioner.features)
    return net


def net_of_self_attention(layers):
    net = hp.HollowNet(6, conditioner=hp.ExclusiveAttention(width=8, layers=layers))
    for n in range(1, layers):
        net.conditioner.layers[n] = FromTheQueries(net.conditioner.layers[n])
    return net


@pytest.mark.parametrize("stack", [net_of_donuts, net_of_self_attention])
def test_masked_layers_leak_from_the_second_on(stack):
    checks.check_hollow(stack(1))
    for layers in (2, 3, 5):
        with broken("is not hollow"):
            checks.check_hollow(stack(layers))


@pytest.mark.parametrize(
    "spec", [hp.Convolution1d(periodic=True), hp.Convolution2d((2, 3), periodic=True)]
)
def test_streams_that_go_all_the_way_round_are_found(monkeypatch, spec):
    checks.check_hollow(hp.HollowNet(6, conditioner=spec))
    monkeypatch.setattr(
        "hollowpde.nets.conditioners.convolution._reach", lambda spec, length: length
    )
    with broken("is not hollow"):
        checks.check_hollow(hp.HollowNet(6, conditioner=spec))


def test_streams_that_are_not_shifted_are_found():
    net = hp.HollowNet(6, conditioner=hp.Convolution1d())
    for stream in net.conditioner.streams:
        stream.sign = 0
    with broken("is not hollow"):
        checks.check_hollow(net)


def test_the_mean_over_all_is_found(monkeypatch):
    net = hp.HollowNet(6, conditioner=hp.ExclusivePooling())
    for total in (
        lambda u: u.sum(-2, keepdim=True).expand_as(u),
        lambda u: u.sum(-2, keepdim=True) - u,
    ):
        monkeypatch.setattr("hollowpde.nets.conditioners.pooling.exclusive_sum", total)
        with broken("is not hollow"):
            checks.check_hollow(net)


def test_h_that_is_not_finite_is_found():
    with broken("h is not finite"):
        checks.check_hollow(net_with(lambda h, x: h / 0))


# Coverage


class Zero(Field):
    dim = 3

    def dimwise(self, t, x, order):
        return tuple(torch.zeros_like(x) for _ in range(order + 1))


class Blind(Field):
    """Each f_i depends on x_i alone."""

    dim = 3

    def dimwise(self, t, x, order):
        return (x.sin(), x.cos(), -x.sin(), -x.cos())[: order + 1]


@pytest.mark.parametrize("field", [Zero(), Blind()])
def test_a_field_that_sees_no_neighbour_fails_coverage(field):
    with broken("6 of 6 off-diagonal derivatives are zero"):
        checks.check_coverage(field)


def test_a_blind_conditioner_fails_coverage():
    with broken("12 of 12 off-diagonal"):
        checks.check_coverage(net_with(lambda h, x: 0 * h))


def test_one_hidden_neighbour_fails_coverage():
    class Hiding(Wrapped):
        def forward(self, x, c):  # h_5 loses sight of x_1
            moved = x * (torch.arange(6) != 1)
            h = self.inner(x, c)
            return torch.cat([h[..., :5, :], self.inner(moved, c)[..., 5:, :]], -2)

    net = hp.HollowNet(6)
    net.conditioner = Hiding(net.conditioner, None)
    with broken(r"1 of 30 off-diagonal derivatives are zero, first d f_5 / dx_1:"):
        checks.check_coverage(net)


def test_one_stream_covers_half():
    net = hp.HollowNet(5)
    checks.check_coverage(net)
    out = net.conditioner.out
    dimension = torch.arange(5).repeat_interleave(net.conditioner.features)
    keep = torch.ones_like(out.mask_0)
    keep[:, :64] = 0  # half of the units, those that see x_j, j < i
    keep[:, 128:] = torch.arange(5) > dimension[:, None]  # and the neighbours themselves
    out.mask_0 = keep * out.mask_0
    with broken("10 of 20 off-diagonal"):
        checks.check_coverage(net)


def test_rounding_is_not_dependence():
    class Cancelling(Field):
        dim = 4

        def dimwise(self, t, x, order):
            total = (0.1 * x).sum(-1, keepdim=True)
            return (x + (total + 0.2 * x) - (x * 0.1).flip(-1).sum(-1, keepdim=True),)

    with broken("off-diagonal"):
        checks.check_coverage(Cancelling())


@pytest.mark.parametrize(
    "spec", [hp.Convolution1d(reach=2), hp.Convolution2d((3, 4), reach=1, periodic=True)]
)
def test_a_local_coupling_fails_coverage(spec):
    with broken("off-diagonal derivatives are zero"):
        checks.check_coverage(hp.HollowNet(12, conditioner=spec))


def test_a_signal_that_dies_away_in_one_draw_is_no_cut(monkeypatch):
    spec = hp.Convolution2d(shape=(1, 18), channels=2, features=1, activation=tanh)
    net = hp.HollowNet(18, context=2, conditioner=spec, transformer=hp.SharedMLP(hidden=(1,)))
    monkeypatch.setattr(fields, "_DRAWS", 1)
    with broken("off-diagonal"):
        checks.check_coverage(net, seed=580)
    monkeypatch.undo()
    checks.check_coverage(net, seed=580)


def test_narrow_masks_without_the_window_are_cut_off():
    # What plain masks do when there are fewer units than dimensions.
    net = hp.HollowNet(40, conditioner=hp.MaskedMLP(hidden=(8, 8)))
    checks.check_coverage(net)
    out = net.conditioner.out
    for k, (units, _) in enumerate(out.spans):
        getattr(out, f"mask_{k}")[:, units[1] - units[0] :] = 0
    with broken("off-diagonal derivatives are zero"):
        checks.check_coverage(net)


# Derivatives


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_derivative_off_by_a_percent_is_found(order):
    field = Changed(hp.HollowNet(3), lambda k, y: 1.01 * y if k == order else y)
    with broken(f"the derivative of order {order} "):
        checks.check_derivatives(field, order=3)


def test_one_wrong_dimension_is_found():
    def change(k, y):
        return y * torch.tensor([1.0, 1.0, 1.001]).to(y) if k == 2 else y

    with broken(r"the derivative of order 2 .* at index \(2,\)"):
        checks.check_derivatives(Changed(hp.HollowNet(3), change))


def test_a_wrong_derivative_without_gradients_is_found():
    def change(k, y):
        return y if torch.is_grad_enabled() or k != 1 else 1.01 * y

    with broken("order 1 .* under no_grad"):
        checks.check_derivatives(Changed(hp.HollowNet(3), change))


def test_a_wrong_derivative_in_large_batches_is_found():
    def change(k, y):
        return 1.01 * y if k == 1 and len(y) > 100 and not torch.is_grad_enabled() else y

    with broken("order 1 of a large batch"):
        checks.check_derivatives(Changed(hp.HollowNet(3), change))


def test_a_derivative_that_is_not_a_number_is_found():
    field = Changed(hp.HollowNet(3), lambda k, y: y * torch.nan if k == 2 else y)
    with broken("order 2 .* nan"):
        checks.check_derivatives(field)


def test_a_missing_derivative_is_found():
    class Short(Changed):
        def dimwise(self, t, x, order):
            return super().dimwise(t, x, min(order, 2))

    with broken("3 tensors for order 3"):
        checks.check_derivatives(Short(hp.HollowNet(2), lambda k, y: y), order=3)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_wrong_taylor_rule_is_found(order):
    @taylor.Rule
    def wrong(v, highest):
        return [
            (1.01 if k == order else 1.0) * c for k, c in enumerate(silu.rule.about(v, highest))
        ]

    field = hp.HollowNet(3, transformer=hp.SharedMLP(activation=Activation(wrong)))
    with broken(f"the derivative of order {order}"):
        checks.check_derivatives(field, order=3)


def test_engines_that_disagree_are_found():
    class Wrong(Transformer):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x, h, c):
            return self.inner(x, h, c)

        def dimwise(self, x, h, c, order):
            value, *rest = self.inner.dimwise(x, h, c, order)
            return value, *(0.99 * y for y in rest)

    net = hp.HollowNet(3)
    net.transformer = Wrong(net.transformer)
    with broken("order 1"):
        checks.check_derivatives(net)
    with broken("engines compared"):
        checks.fields._check_engines(checks.redrawn(net), None, 2, 0)


def test_a_wrong_time_derivative_is_found():
    class Late(Changed):
        def in_time(self, t, x, order):
            values, slopes = super().in_time(t, x, order)
            return values, tuple(1.01 * y for y in slopes)

    with broken("the time derivative"):
        checks.check_derivatives(Late(hp.HollowNet(3), lambda k, y: y))


def test_samples_that_influence_one_another_are_found():
    field = Changed(Blind(), lambda k, y: y - y.mean(0).detach() if y.ndim > 1 and k == 0 else y)
    with broken("the value at row 0 of a batch, alone"):
        checks.check_derivatives(field)


# Gradients


def test_a_detached_conditioner_is_found():
    net = net_with(lambda h, x: h.detach())
    with broken("the slope of a loss on the value along a direction of"):
        checks.check_gradients(net)
    with broken("off-diagonal"):
        checks.check_coverage(net)
    with broken("gradcheck fails"):
        checks.check_gradgrad(net)


class DetachedAbove(hp.HollowNet):
    """h is detached in the derivatives alone, as an engine that forgets it would do."""

    def dimwise(self, t, x, order):
        value = super().dimwise(t, x, 0)[0]
        h = self.conditioner(x, self._covariates(t, x, None)).detach()
        cut = self.transformer.dimwise(x, h, self._covariates(t, x, None), order)
        return value, *cut[1:]


def test_a_conditioner_detached_in_the_derivatives_is_found():
    checks.check_derivatives(DetachedAbove(3))
    with broken("the gradient of a loss on the derivative of order 1 with respect to"):
        checks.check_gradients(DetachedAbove(3))


def test_derivatives_that_are_cut_from_the_graph_are_found():
    field = Changed(hp.HollowNet(3), lambda k, y: y.detach() if k == 2 else y)
    checks.check_derivatives(field)
    with broken("a loss on the derivative of order 2 with respect to"):
        checks.check_gradients(field)


def test_gradients_are_compared_with_independent_parameters():
    # A reference that shared the parameters would accumulate into the same gradients.
    class Forgetful(Changed):
        """The gradient of D^1 misses one parameter."""

        def dimwise(self, t, x, order):
            values = super().dimwise(t, x, order)
            if order == 0:
                return values
            slope = self.inner.transformer.slope
            return values[0], values[1] - slope + slope.detach(), *values[2:]

    with broken("order 1 with respect to inner.transformer.slope"):
        checks.check_gradients(Forgetful(hp.HollowNet(3), lambda k, y: y))


class SilentlyOnce(torch.autograd.Function):
    """sin, whose backward pass cannot be differentiated again and does not say so."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.detach().cos()


class Lossy(Field):
    """The derivatives are right, and so are their first gradients."""

    dim = 2

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.ones(2))

    def dimwise(self, t, x, order):
        value = self.a * x.sin()
        return (value, self.a * SilentlyOnce.apply(x + torch.pi / 2)) if order else (value,)


def test_second_gradients_that_are_lost_are_found():
    with broken("gradgradcheck fails for Lossy"):
        checks.check_gradgrad(Lossy(), order=1)


# Round trip and repr


def test_state_that_is_not_saved_is_found():
    class Forgetful(Changed):
        def __init__(self):
            super().__init__(hp.HollowNet(2), lambda k, y: self.mask * y)
            self.mask = torch.rand(2)

    with broken("the value differs by"):
        checks.check_roundtrip(Forgetful(), make=Forgetful)


def test_weights_that_do_not_load_are_found():
    with broken("the saved weights of HollowNet do not load: (?s:.)*size mismatch"):
        checks.check_roundtrip(hp.HollowNet(2), make=lambda: hp.HollowNet(3))


def test_parameters_that_are_not_registered_are_found():
    class Hidden(Changed):
        def __init__(self, inner):
            super().__init__(None, lambda k, y: y)
            self.inner = [inner.double()]

        def dimwise(self, t, x, order):
            return self.inner[0].dimwise(t, x, order)

    def make():
        return Hidden(hp.HollowNet(2))

    with broken("the value differs by"):
        checks.check_roundtrip(make(), make=make, dim=2)


def test_a_repr_that_says_nothing_is_found():
    class Silent(hp.HollowNet):
        def __repr__(self):
            return "a network"

    with broken("repr must start with Silent"):
        checks.check_roundtrip(Silent(2))


# Densities


class Offset(hp.GaussianMixture):
    """log p changed by a constant."""

    def __init__(self, dim, components, offset):
        super().__init__(dim, components)
        self.offset = offset

    def dimwise(self, t, x, order):
        value, *rest = super().dimwise(t, x, order)
        return value + self.offset, *rest


class Sampled(hp.GaussianMixture):
    """Samples changed by a function."""

    def __init__(self, dim, components, change):
        super().__init__(dim, components)
        self.change = change

    def sample(self, t, n, generator=None):
        return self.change(super().sample(t, n, generator))


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_the_unchanged_densities_pass(dim):
    checks.check_density(Offset(dim, 2, 0.0))
    checks.check_density(Sampled(dim, 2, lambda x: x))


@pytest.mark.parametrize(("dim", "offset"), [(1, 0.01), (2, -0.01), (3, 0.1), (5, -0.1)])
def test_a_density_that_is_not_normalised_is_found(dim, offset):
    with broken("the density integrates to"):
        checks.check_density(Offset(dim, 2, offset))


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "change",
    [lambda x: 1.1 * x, lambda x: x + 0.1, lambda x: x.flip(1)],
    ids=["wider", "moved", "times swapped"],
)
def test_samples_of_another_density_are_found(dim, change):
    with broken("samples at t = .* are not from|integrates to"):
        checks.check_density(Sampled(dim, 2, change))


def test_samples_with_wrong_weights_are_found():
    class Even(hp.GaussianMixture):
        def sample(self, t, n, generator=None):
            logits, self.logits.data = self.logits.data, torch.zeros_like(self.logits)
            x = super().sample(t, n, generator)
            self.logits.data = logits
            return x

    for dim in (1, 3):
        with broken("samples at t = .* are not from|integrates to"):
            checks.check_density(Even(dim, 3))


def test_samples_without_correlation_are_found():
    def shuffle(x):
        return torch.stack([x[..., 0], x.roll(1, 0)[..., 1]], -1)

    with broken("samples at t = .* are not from"):
        checks.check_density(Sampled(2, 3, shuffle))


def test_samples_of_the_wrong_shape_are_found():
    with broken("have the shape"):
        checks.check_density(Sampled(2, 3, lambda x: x[..., :1]))


def test_samples_that_ignore_the_generator_are_found():
    with broken("generators with the same seed differ"):
        checks.check_density(Sampled(2, 3, lambda x: x + 1e-6 * torch.rand(())))


def test_a_wrong_score_is_found():
    class Tilted(hp.GaussianMixture):
        def score(self, t, x):
            return 1.01 * super().score(t, x)

    with broken("the score"):
        checks.check_density(Tilted(2, 3))


def test_as_it_is_not_redrawn():
    density = hp.GaussianMixture(1, 2)
    checks.check_density(density, redraw=False)
    before = [p.clone() for p in density.parameters()]
    checks.check_field(density)
    assert all(torch.equal(a, b) for a, b in zip(before, density.parameters(), strict=True))


# All at once


@pytest.mark.parametrize(
    ("field", "match"),
    [
        (net_with(lambda h, x: h + x.unsqueeze(-1)), "is not hollow"),
        (net_with(lambda h, x: 0 * h), "off-diagonal"),
        (Changed(hp.HollowNet(2), lambda k, y: (1 + 0.01 * k) * y), "order 1"),
        (DetachedAbove(2), "a loss on the derivative of order 1"),
        (Offset(1, 2, 0.1), "integrates to 1.10"),
    ],
    ids=["leaking", "blind", "scaled", "detached", "not normalised"],
)
def test_check_field_finds_them(field, match):
    with broken(match):
        checks.check_field(field, order=1)


def test_a_field_that_does_not_say_its_dimension():
    class Anonymous(Blind):
        dim = None

    with pytest.raises(hp.InputError, match="Anonymous has no attribute dim: pass dim"):
        checks.check_derivatives(Anonymous())
    checks.check_derivatives(Anonymous(), dim=2)


def test_coverage_is_of_vector_fields():
    with pytest.raises(hp.InputError, match="coverage needs a vector field"):
        checks.check_coverage(hp.GaussianMixture(2, 2))
