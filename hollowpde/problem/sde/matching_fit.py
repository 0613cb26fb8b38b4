"""How drift and diffusion are fitted to snapshots: in which order, and what is chosen."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy.stats import chi2
from torch import Tensor, nn

from hollowpde.nets import ConstantField, LinearField, SymmetricField
from hollowpde.operators.field import Field
from hollowpde.problem.sde.coefficients import Coefficients
from hollowpde.problem.sde.forms import DownhillField
from hollowpde.problem.sde.matching import Criterion, Matching, WeakCriterion
from hollowpde.problem.sde.model import SDEModel
from hollowpde.problem.stage import Stage

log = logging.getLogger(__name__)

# Nats of held-out evidence below which the stronger ridge is kept.
_FEW = 3.0
# Where the search for the best linear drift begins: the squared diffusion in standardised units,
# how often it is weighed anew, and the least diffusion that it may end with. From a smaller one a
# fit may not find its way back.
_FIRST_GUESS = 0.5
_LINEAR_ROUNDS = 3
_LEAST = 0.2
# A chi-square less likely than this is a misfit.
_MISFIT = 1e-3


@dataclass(frozen=True)
class Round:
    """One optimisation of a pair of coefficients, its parts weighed where it starts."""

    name: str
    k: int  # which pair
    anchor: int  # which anchor: what it is weighed by
    ridge: float


def rounds(ridges: int) -> int:
    """How many optimisations there are of each diffusion."""
    return ridges + 2


class MatchingFit:
    """The stages that match drift and diffusion to the marginals, and the choices between them.

    Of each diffusion in turn: the drift alone, then both for every ridge, then once more with the
    ridge that held-out samples choose, all parts weighed anew. A further diffusion is tried only
    where those before do not fit.
    """

    def __init__(self, setting: Matching, model: SDEModel, criterion: Criterion) -> None:
        self.setting, self.model, self.criterion = setting, model, criterion

    def stages(self) -> Iterator[Stage]:
        model = self.model
        kinds = len(model.coefficients) // model.ridges
        misfits: dict[int, float] = {}
        for kind in range(kinds):
            k = yield from self._of_kind(kind)
            misfits[k] = self._misfit(k)
            if misfits[k] <= 1:
                break
        if int(model.chosen) < 0:
            chosen = min(misfits, key=misfits.__getitem__)
            model.chosen.fill_(chosen)
            log.info(self._reason(chosen, misfits))

    def weigh_chosen(self) -> None:
        """Weigh the criterion as in the last round of the pair that was chosen."""
        kind = int(self.model.chosen) // self.model.ridges
        last = self.model.anchor((kind + 1) * rounds(self.model.ridges) - 1)
        self.criterion.weigh(last.drift, last.diffusion)

    def _of_kind(self, kind: int) -> Generator[Stage, None, int]:
        """All rounds with one diffusion; which pair came out best."""
        model, setting = self.model, self.setting
        first, ridges = kind * model.ridges, range(model.ridges)
        label = "" if kind == 0 else f", diffusion {kind + 1}"
        anchor = kind * rounds(model.ridges)
        if setting.first.steps:
            alone = Round(f"drift alone{label}", first, anchor, setting.ridge[0])
            yield self._stage(alone, drift_only=True)
        for ridge in ridges:
            name = f"drift and diffusion{label}, ridge {setting.ridge[ridge]:g}"
            yield self._stage(Round(name, first + ridge, anchor + 1 + ridge, setting.ridge[ridge]))
        # Kept, since what follows changes the pair that is chosen.
        if int(model.settled[kind]) < 0:
            held_out = [self._held_out(first + ridge) for ridge in ridges]
            best = next(r for r in ridges if held_out[r] <= min(held_out) + _FEW)
            model.settled[kind] = best
        chosen = int(model.settled[kind])
        last = anchor + model.ridges + 1
        name = f"drift and diffusion{label}, weighed anew"
        yield self._stage(Round(name, first + chosen, last, setting.ridge[chosen]))
        return first + chosen

    def _stage(self, step: Round, drift_only: bool = False) -> Stage:
        model, setting = self.model, self.setting
        pair, anchor = model.pair(step.k), model.anchor(step.anchor)
        if not anchor.begun:
            if not pair.begun:
                self._start(step.k)
            anchor.load_state_dict(pair.state_dict())
            anchor.begun.fill_(True)
        # Of the frozen start, so that a resumed stage is weighed as it was.
        self.criterion.weigh(anchor.drift, anchor.diffusion)

        def losses(batch: None, progress: float) -> dict[str, Tensor]:
            out = {"matching": self.criterion.nats(pair.drift, pair.diffusion)}
            if pair.weights and step.ridge:
                squares = torch.stack([w.square().sum() for w in pair.weights]).sum()
                out["ridge"] = 0.5 * step.ridge * squares
            return out

        def minimised() -> float:
            with torch.no_grad():
                return float(torch.stack(list(losses(None, 1.0).values())).sum())

        return Stage(
            name=step.name,
            module=pair.drift if drift_only else _fitted_part(pair),
            batches=_nothing,
            losses=losses,
            # The ridge, not an early stop, keeps networks from fitting noise; held-out samples
            # choose the ridge.
            validate=minimised,
            optimiser=setting.first if drift_only else setting.optimiser,
            stop=setting.stop,
        )

    def _start(self, k: int) -> None:
        """From the pair with the ridge before, or from the best linear drift."""
        model, pair = self.model, self.model.pair(k)
        if k % model.ridges:
            pair.load_state_dict(model.pair(k - 1).state_dict())
        else:
            pair.start_from_linear(*_best_linear(self.criterion, pair, model.place.noisy))
        pair.begun.fill_(True)

    @torch.no_grad()
    def _held_out(self, k: int) -> float:
        return self._nats(self.model.pair(k))

    def _nats(self, pair: Coefficients) -> float:
        return float(self.criterion.held_out(pair.drift, pair.diffusion))

    @torch.no_grad()
    def _misfit(self, k: int) -> float:
        """The chi-square of a pair over the largest that is no misfit; 1 where there is none."""
        criterion, pair = self.criterion, self.model.pair(k)
        if not isinstance(criterion, WeakCriterion):
            return 1.0
        value = float(criterion.leftovers(pair.drift, pair.diffusion).square().sum())
        return value / float(chi2.isf(_MISFIT, criterion.equations))

    def _reason(self, chosen: int, misfits: Mapping[int, float]) -> str:
        model = self.model
        values = ", ".join(f"{misfit:.2f}" for misfit in misfits.values())
        return (
            f"diffusion: candidate {chosen // model.ridges + 1}, ridge "
            f"{self.setting.ridge[chosen % model.ridges]:g}; chi-squares over the largest that is "
            f"no misfit: {values}"
        )


@torch.no_grad()
def _best_linear(
    criterion: Criterion, pair: Coefficients, noisy: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    """The linear drift `(1 + d, d)` and the constant diffusion `(d,)` that match best.

    A gradient, where the drift is to be one. A known diffusion stays as it is. What is left over
    is affine in both, so that they are found by linear least squares; what it is weighed by comes
    from the ones before.
    """
    d = len(noisy)
    like = next(pair.parameters(), torch.empty(0))
    linear, constant = LinearField(d).to(like), ConstantField(d).to(like)
    drift: Field = linear
    scale = torch.ones_like(linear.b)
    if isinstance(pair.drift, DownhillField):
        linear = SymmetricField(d).to(like)
        drift = DownhillField(linear, pair.drift.units)
        drift.resize(scale)
        scale = drift.scale
    known = not any(p.requires_grad for p in pair.diffusion.parameters())
    diffusion: Field = pair.diffusion if known else constant
    free = [linear.b, linear.A] if known else [linear.b, linear.A, constant.c]
    mask = torch.tensor(noisy, device=like.device)
    constant.c.copy_(_FIRST_GUESS * mask)
    for _ in range(_LINEAR_ROUNDS):
        criterion.weigh(drift, diffusion)
        for parameter in free:
            parameter.zero_()
        left = criterion.leftovers(drift, diffusion)
        columns = []
        for parameter in free:
            flat = parameter.view(-1)
            for i in range(len(flat)):
                flat[i] = 1.0
                columns.append(criterion.leftovers(drift, diffusion) - left)
                flat[i] = 0.0
        design = torch.stack(columns, dim=1).double()
        # The diffusion of a dimension without noise has a column of nothing: no part of it.
        solution = torch.linalg.lstsq(design, -left.double().unsqueeze(1), driver="gelsd").solution
        for parameter, values in zip(free, solution.split([p.numel() for p in free]), strict=True):
            parameter.copy_(values.view_as(parameter))
        constant.c.copy_(constant.c.clamp(min=_LEAST) * mask)
    fitted = torch.cat([linear.b.unsqueeze(0), linear.matrix().T]) * scale
    return fitted, constant.c.detach()


def _fitted_part(pair: Coefficients) -> nn.Module:
    return nn.ModuleList([pair.drift, pair.diffusion])


def _nothing(generator: torch.Generator, progress: float) -> None:
    """All samples are in the criterion."""
