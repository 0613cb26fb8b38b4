"""Initial value problems: accurate or an error, never wrong in silence; each sample by itself."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp as by_scipy

import hollowpde as hp

from .stiff import CASES, DOUBLE, fitzhugh_nagumo, relaxation, robertson

pytestmark = pytest.mark.filterwarnings("ignore::hollowpde.BruteForceWarning")


def in_numpy(f):
    def g(t, y):
        at = torch.full((1,), float(t), dtype=DOUBLE)
        return f(at, torch.from_numpy(np.array(y))[None])[0].numpy()

    return g


def scipys(case, rtol, atol, times, method="BDF"):
    span = (0.0, times[-1])
    return by_scipy(
        in_numpy(case.f), span, case.start()[0].numpy(), method=method, rtol=rtol, atol=atol,
        t_eval=times,
    ).y.T  # fmt: skip


@pytest.fixture(scope="module")
def references():
    known = {}

    def of(name, times):
        if name not in known:
            known[name] = scipys(CASES[name], 1e-8, 1e-12, times, "Radau")
        return known[name]

    return of


SHORT = ("Robertson to 1e4", "HIRES", "pollution", "Brusselator", "relaxation")


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, hp.JacobiNewtonBDF()) for name in CASES),
        *((name, hp.ESDIRK43()) for name in SHORT),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_stiff_systems_are_solved_as_well_as_by_scipy(name, method, references):
    case = CASES[name]
    times = [0.01 * case.end, 0.4 * case.end, case.end]
    exact = references(name, times)
    for rtol in (1e-3, 1e-5):
        atol = case.floor * rtol
        with torch.no_grad():
            found = hp.solve_ivp(
                case.f, (0.0, case.end), case.start(), method=method, diagonal=case.diagonal,
                rtol=rtol, atol=atol, t_eval=times,
            )  # fmt: skip
        size = np.maximum(np.abs(exact), case.floor)
        error = np.abs(found.y[:, 0].numpy() - exact) / size
        peer = np.abs(scipys(case, rtol, atol, times) - exact) / size
        times_rtol = 300 if isinstance(method, hp.ESDIRK43) else 100
        assert error.max() <= max(times_rtol * rtol, 3 * peer.max()), (
            rtol,
            error.max(),
            peer.max(),
        )
        if name.startswith("Robertson"):
            assert (found.y.sum(-1) - 1).abs().max() < 1e-6


def test_a_conserved_sum_in_many_dimensions_is_not_lost():
    # Robertson's kinetics between 60 boxes: too large for dense Jacobians, and singular.
    boxes, one = 60, robertson()

    def f(t, y):
        within = one.f(t.repeat(boxes), y.reshape(-1, 3)).reshape(y.shape)
        z = y.reshape(len(y), boxes, 3)
        mixed = 0.1 * (z.roll(1, 1) - 2 * z + z.roll(-1, 1))
        return within + mixed.reshape(y.shape)

    def diagonal(t, y):
        return one.diagonal(t.repeat(boxes), y.reshape(-1, 3)).reshape(y.shape) - 0.2

    y0 = one.start().repeat(1, boxes)
    with torch.no_grad():
        found = hp.solve_ivp(f, (0.0, 1e4), y0, diagonal=diagonal, rtol=1e-4, atol=1e-10)
        alone = hp.solve_ivp(
            one.f, (0.0, 1e4), one.start(), rtol=1e-8, atol=1e-14,
            method=hp.JacobiNewtonBDF(inner=hp.DenseNewton()),
        )  # fmt: skip
    assert found.stats.n_handed_over > 0 and found.stats.n_jvp > 0 and found.stats.n_jac == 0
    assert (found.y.sum(-1) - boxes).abs().max() < 1e-6 * boxes
    torch.testing.assert_close(found.y[-1, 0, :3], alone.y[-1, 0], rtol=1e-2, atol=1e-10)


@pytest.mark.parametrize(
    ("method", "order"),
    [
        *[(lambda h, k=k: hp.JacobiNewtonBDF(fixed=(k, h)), k) for k in range(1, 6)],
        *[(lambda h, k=k: hp.JacobiNewtonBDF(fixed=(k, h), corrected=False), k) for k in (2, 4)],
        *[(lambda h, k=k: hp.AdamsMoulton(fixed=(k, h)), k) for k in range(1, 6)],
        (lambda h: hp.ESDIRK43(fixed=h), 4),
    ],
)
def test_orders(method, order):
    def f(t, y):
        a, b = y.unbind(1)
        return torch.stack([b * torch.cos(t), -a + 0.3 * torch.sin(t) * b], 1)

    def diagonal(t, y):
        return torch.stack([0 * t, 0.3 * torch.sin(t)], 1)

    y0 = torch.tensor([[1.0, 0.5]], dtype=DOUBLE)
    exact = by_scipy(
        in_numpy(f), (0, 4), y0[0].numpy(), method="DOP853", rtol=1e-13, atol=1e-14
    ).y[:, -1]
    errors = []
    coarse = 20 if isinstance(method(1.0), hp.ESDIRK43) else 160 if order < 4 else 80
    for n in (coarse, 2 * coarse, 4 * coarse):
        found = hp.solve_ivp(
            f, (0.0, 4.0), y0, method=method(4 / n), diagonal=diagonal, rtol=1e-10, atol=1e-12
        )
        assert found.stats.n_steps in (n, n - order)  # the first ones are given
        errors.append(np.abs(found.y[-1, 0].numpy() - exact).max())
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert abs(slopes[-1] - order) < 0.2, (errors, slopes)


@pytest.mark.parametrize("method", [hp.JacobiNewtonBDF(), hp.ESDIRK43(), hp.AdamsMoulton()])
def test_each_sample_goes_its_own_way(method):
    case = fitzhugh_nagumo(1e-2)
    generator = torch.Generator().manual_seed(0)
    y0 = 2 * torch.rand(5, 2, generator=generator, dtype=DOUBLE) - 1
    settings = {"method": method, "diagonal": case.diagonal, "t_eval": [0.1, 0.7, 1.0]}
    with torch.no_grad():
        together = hp.solve_ivp(case.f, (0.0, 1.0), y0, **settings)
        for k in range(5):
            alone = hp.solve_ivp(case.f, (0.0, 1.0), y0[k : k + 1], **settings)
            torch.testing.assert_close(together.y[:, k], alone.y[:, 0], rtol=1e-8, atol=1e-10)
            assert together.stats.steps[k] == alone.stats.steps[0]
            assert together.stats.evaluations[k] == alone.stats.evaluations[0]
    assert together.stats.steps.unique().numel() > 1


@pytest.mark.parametrize(
    "inner",
    [hp.JacobiNewton(), hp.JacobiNewton(anderson=0), hp.DenseNewton(), hp.NewtonKrylov()],
)
def test_inner_solvers_agree(inner):
    case = relaxation(6)
    with torch.no_grad():
        found, exact = (
            hp.solve_ivp(
                case.f, (0.0, 2.0), case.start(), method=hp.JacobiNewtonBDF(inner=i),
                diagonal=case.diagonal, rtol=rtol, atol=1e-9,
            ).y[-1]
            for i, rtol in ((inner, 1e-6), (hp.DenseNewton(), 1e-9))
        )  # fmt: skip
    torch.testing.assert_close(found, exact, rtol=2e-5, atol=1e-8)


def test_functional_iteration_and_adams_where_nothing_is_stiff():
    def f(t, y):
        return torch.cos(t)[:, None] * y

    y0 = torch.ones(2, 1, dtype=DOUBLE)
    for method in (
        hp.AdamsMoulton(inner=hp.FunctionalIteration()),
        hp.JacobiNewtonBDF(inner=hp.FunctionalIteration()),
        hp.RungeKutta(),
    ):
        found = hp.solve_ivp(f, (0.0, 3.0), y0, method=method, t_eval=[0.0, 1.0, 2.5, 3.0])
        exact = torch.exp(torch.sin(found.t))[:, None, None].expand_as(found.y)
        torch.testing.assert_close(found.y, exact, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("method", [hp.JacobiNewtonBDF(), hp.ESDIRK43(), hp.RungeKutta()])
def test_backward_in_time_and_between_steps(method):
    times = torch.linspace(2.0, -1.0, 31, dtype=DOUBLE)
    y0 = torch.sin(torch.tensor([[2.0]], dtype=DOUBLE))
    found = hp.solve_ivp(
        lambda t, y: torch.cos(t)[:, None] + 0 * y, (2.0, -1.0), y0, t_eval=times, method=method,
        diagonal=lambda t, y: 0 * y, rtol=1e-7,
    )  # fmt: skip
    torch.testing.assert_close(found.y[:, 0, 0], torch.sin(times), rtol=1e-4, atol=2e-6)


def test_hollow_networks_tell_their_diagonal():
    torch.manual_seed(0)
    net = hp.HollowNet(5).double()
    y0 = torch.randn(3, 5, dtype=DOUBLE)
    found = hp.solve_ivp(net, (0.0, 1.0), y0, rtol=1e-8, atol=1e-10)
    exact = hp.solve_ivp(net, (0.0, 1.0), y0, rtol=1e-8, atol=1e-10, method=hp.RungeKutta())
    torch.testing.assert_close(found.y, exact.y, rtol=1e-6, atol=1e-7)
    assert found.stats.n_diag > 0 and exact.stats.n_diag == 0


def test_single_precision():
    case = relaxation(8)
    with torch.no_grad():
        found = hp.solve_ivp(
            case.f, (0.0, 2.0), case.start(torch.float32), diagonal=case.diagonal, rtol=1e-4,
            atol=1e-5,
        )  # fmt: skip
        exact = hp.solve_ivp(case.f, (0.0, 2.0), case.start(), diagonal=case.diagonal, rtol=1e-9)
    assert found.y.dtype == torch.float32
    torch.testing.assert_close(found.y[-1].double(), exact.y[-1], rtol=2e-3, atol=2e-3)
    with pytest.raises(hp.InputError, match=r"below what torch.float32 can tell .*y0.double"):
        hp.solve_ivp(case.f, (0.0, 2.0), case.start(torch.float32), rtol=1e-6)


@pytest.mark.parametrize("rtol", [1e-3, 1e-4, 1e-5])
def test_single_precision_keeps_what_is_conserved(rtol):
    case = robertson(1e10)
    with torch.no_grad():
        found = hp.solve_ivp(
            case.f, (0.0, case.end), case.start(torch.float32), diagonal=case.diagonal, rtol=rtol,
            atol=case.floor * rtol, t_eval=[1e2, 1e6, case.end],
        )  # fmt: skip
    assert (found.y.double().sum(-1) - 1).abs().max() < 2e-7


@pytest.mark.parametrize("method", [hp.JacobiNewtonBDF(), hp.ESDIRK43(), hp.AdamsMoulton()])
def test_a_field_in_single_precision_sees_nothing_else(method):
    torch.manual_seed(0)
    net, y0 = hp.HollowNet(3), torch.randn(2, 3)
    # Both ask for float32: they would refuse anything else.
    event = hp.Event(lambda t, y: net(t, y)[:, 0])
    found = hp.solve_ivp(net, (0.0, 1.0), y0, method=method, rtol=1e-4, events=[event])
    assert found.y.dtype == torch.float32
    grads = torch.autograd.grad(found.y[-1].square().sum(), [*net.parameters()])
    wide = copy.deepcopy(net).double()
    exact = hp.solve_ivp(wide, (0.0, 1.0), y0.double(), method=method, rtol=1e-4)
    wanted = torch.autograd.grad(exact.y[-1].square().sum(), [*wide.parameters()])
    torch.testing.assert_close(found.y[-1].double(), exact.y[-1], rtol=1e-5, atol=1e-5)
    assert {grad.dtype for grad in grads} == {torch.float32}
    error = [got.double() - want for got, want in zip(grads, wanted, strict=True)]
    assert sum(e.square().sum() for e in error) <= 1e-8 * sum(w.square().sum() for w in wanted)


def test_single_precision_at_the_edge_of_what_it_can_tell():
    # Updates of Newton's method are rounding here, and no contraction is to be seen.
    case = fitzhugh_nagumo()
    given = {"diagonal": case.diagonal, "atol": 1e-8, "max_steps": 2000}
    with torch.no_grad():
        found, exact = (
            hp.solve_ivp(case.f, (0.0, 0.2), case.start(dtype), rtol=rtol, **given)
            for dtype, rtol in ((torch.float32, 1e-5), (DOUBLE, 1e-8))
        )
    torch.testing.assert_close(found.y[-1].double(), exact.y[-1], rtol=1e-3, atol=1e-4)


def test_auto_says_what_it_used():
    case = relaxation(8)
    stiff = hp.solve_ivp(
        case.f, (0.0, 2.0), case.start(), diagonal=case.diagonal, method=hp.Auto(),
        t_eval=[1e-4, 0.5, 2.0],
    )  # fmt: skip
    exact = hp.solve_ivp(
        case.f, (0.0, 2.0), case.start(), diagonal=case.diagonal, rtol=1e-9,
        t_eval=[1e-4, 0.5, 2.0],
    )  # fmt: skip
    torch.testing.assert_close(stiff.y, exact.y, rtol=1e-4, atol=1e-5)
    assert "h max|D| stayed above 2" in stiff.stats.method
    assert "JacobiNewtonBDF" in stiff.stats.method
    easy = hp.solve_ivp(
        lambda t, y: -y, (0.0, 2.0), torch.ones(1, 1), diagonal=lambda t, y: -torch.ones_like(y),
        method=hp.Auto(), rtol=1e-5,
    )  # fmt: skip
    assert easy.stats.method.startswith("Auto: RungeKutta(), since")
    assert easy.y[-1].item() == pytest.approx(math.exp(-2), rel=1e-3)
    with pytest.raises(hp.InputError, match="sees stiffness by the diagonal"):
        hp.solve_ivp(lambda t, y: -y, (0.0, 2.0), torch.ones(1, 1).double(), method=hp.Auto())


def test_events():
    def f(t, y):
        return torch.stack([y[:, 1], torch.full_like(t, -9.81)], 1)

    up = torch.tensor([[0.0, 10.0], [0.0, 5.0]], dtype=DOUBLE)
    ground = hp.Event(lambda t, y: y[:, 0] + 1e-9, terminal=True, direction=-1)
    top = hp.Event(lambda t, y: y[:, 1])
    found = hp.solve_ivp(
        f, (0.0, 5.0), up, events=[ground, top], diagonal=lambda t, y: 0 * y, rtol=1e-8,
        t_eval=[0.5, 1.5, 5.0],
    )  # fmt: skip
    for k, speed in enumerate((10.0, 5.0)):
        assert found.events[0][k].tolist() == pytest.approx([2 * speed / 9.81], rel=1e-6)
        assert found.events[1][k].tolist() == pytest.approx([speed / 9.81], rel=1e-6)
    finite = torch.isfinite(found.y[..., 0])
    assert finite.tolist() == [[True, True], [True, False], [False, False]]
    with pytest.raises(hp.InputError, match="events need a method of this library"):
        hp.solve_ivp(f, (0.0, 1.0), up, events=[top], method=hp.RungeKutta())


def explodes(t, y):
    return y**2


@pytest.mark.parametrize(
    "method", [hp.JacobiNewtonBDF(), hp.ESDIRK43(), hp.AdamsMoulton(), hp.RungeKutta()]
)
def test_what_cannot_be_solved_is_an_error(method):
    y0 = torch.tensor([[0.1], [1.0]], dtype=DOUBLE)
    given = {"method": method, "diagonal": lambda t, y: 2 * y, "max_steps": 3000}
    with pytest.raises(hp.SolverError, match=r"samples could not go on: sample \d at t ="):
        hp.solve_ivp(explodes, (0.0, 2.0), y0, **given)
    found = hp.solve_ivp(explodes, (0.0, 2.0), y0, throw=False, **given)
    assert not found.success.all() and torch.isnan(found.y[-1, 1]).all()
    assert "could not go on" in found.status
    if not isinstance(method, hp.RungeKutta):
        assert found.success.tolist() == [True, False]
        assert found.y[-1, 0].item() == pytest.approx(0.125, rel=1e-4)


@pytest.mark.parametrize("method", [hp.JacobiNewtonBDF(), hp.ESDIRK43(), hp.RungeKutta()])
def test_nan_and_too_many_steps_are_named(method):
    def f(t, y):
        return torch.where(t[:, None] > 0.5, torch.nan, 1.0) + 0 * y

    y0 = torch.zeros(1, 1, dtype=DOUBLE)
    given = {"method": method, "diagonal": lambda t, y: 0 * y}
    with pytest.raises(hp.SolverError, match=r"sample 0 at t = 0\.\d+: "):
        hp.solve_ivp(f, (0.0, 1.0), y0, **given)
    with pytest.raises(hp.SolverError, match="10 steps did not suffice"):
        hp.solve_ivp(
            lambda t, y: torch.cos(50 * t)[:, None] + 0 * y,
            (0.0, 100.0),
            y0,
            max_steps=10,
            **given,
        )


def linear(t, y):
    return -y


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y0": torch.ones(3)}, r"y0 must be a tensor \(B, d\)"),
        ({"y0": torch.ones(1, 1).long()}, "y0 must be float32 or float64"),
        ({"y0": torch.full((1, 1), torch.nan).double()}, "y0 must be finite"),
        ({"rtol": 0.0}, r"rtol must lie in \(0, 1\)"),
        ({"rtol": 1e-16}, "rtol = 1e-16 is below what"),
        ({"atol": -1.0}, "atol must not be negative"),
        ({"atol": torch.ones(3)}, r"atol must be a number or \(1,\)"),
        ({"t_span": (0.0, 0.0)}, "two different finite times"),
        ({"t_eval": [0.5, 0.2]}, "t_eval must lie between"),
        ({"t_eval": [2.0]}, "t_eval must lie between"),
        ({"f": lambda t, y: y.sum(-1)}, r"f\(t, y\) must return \(1, 1\)"),
        ({"method": hp.JacobiNewtonBDF()}, "JacobiNewton needs the diagonal"),
        (
            {"method": hp.JacobiNewtonBDF(inner=hp.DenseNewton(), fixed=(3, 0.5))},
            "begins with 3 steps of that size, which must lie within t_span, of length 1",
        ),
    ],
)
def test_contradictions_are_refused(changes, message):
    given = {
        "f": linear, "t_span": (0.0, 1.0), "y0": torch.ones(1, 1).double(),
        "method": hp.JacobiNewtonBDF(inner=hp.DenseNewton()), "rtol": 1e-6, "atol": 1e-9,
        "t_eval": None,
    } | changes  # fmt: skip
    f, t_span, y0 = (given.pop(name) for name in ("f", "t_span", "y0"))
    with pytest.raises(hp.InputError, match=message):
        hp.solve_ivp(f, t_span, y0, **given)


def test_settings_are_checked():
    with pytest.raises(hp.InputError, match=r"max_order must lie in 1\.\.5"):
        hp.JacobiNewtonBDF(max_order=6)
    with pytest.raises(hp.InputError, match="iterations at least 1"):
        hp.JacobiNewton(iterations=0)
    with pytest.raises(hp.InputError, match="hand_over must lie in"):
        hp.JacobiNewton(hand_over=1.0)


@pytest.mark.parametrize("method", [hp.JacobiNewtonBDF, hp.AdamsMoulton])
def test_iterations_that_end_in_rounding_are_taken(method):
    """A small step of a tight solve measures a contraction of nothing, perhaps above one."""
    k, y0 = torch.tensor([50.0, 1.0], dtype=DOUBLE), torch.zeros(3, 2, dtype=DOUBLE)
    out = hp.solve_ivp(
        lambda t, y: -k * (y - torch.cos(t)[:, None]), (0.0, 1.0), y0, rtol=1e-6, atol=1e-9,
        method=method(inner=hp.FunctionalIteration()),
    )  # fmt: skip
    t, rest = torch.tensor(1.0, dtype=DOUBLE), k**2 / (1 + k**2)
    steady = (k**2 * t.cos() + k * t.sin()) / (1 + k**2)
    exact = steady - rest * torch.exp(-k * t)
    torch.testing.assert_close(out.y[-1], exact.expand(3, 2), rtol=1e-4, atol=1e-6)
