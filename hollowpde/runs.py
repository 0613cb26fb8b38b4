"""Fit a problem, and load what was fitted: `hp.fit` and `hp.load`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.operators.field import Field
from hollowpde.problem.base import Compute, Fit, Metrics, Problem
from hollowpde.problem.panel import Panel
from hollowpde.problem.registry import run_problem_file
from hollowpde.problem.settings import Plain, flat, override, plain
from hollowpde.report import write_page
from hollowpde.training import (
    FILES,
    Progress,
    Row,
    RunDirectory,
    State,
    Trainer,
    charts_of,
    environment,
)

if TYPE_CHECKING:
    from hollowpde.problem.sde.ensemble import Ensemble
    from hollowpde.problem.sde.learned import FittedSDE
    from hollowpde.problem.sde.physical_density import PhysicalDensity

# Where runs go by default, below the current directory.
_RESULTS = Path("results")

_DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.float64)}


class Run:
    """A finished fit: its directory, its metrics and what it has learned.

    `sde` goes into `torchsde.sdeint` as it is; `density.log_prob(t, x)` takes any array. Which of
    them exist depends on the kind of problem.
    """

    def __init__(self, path: Path, metrics: Metrics, learned: object) -> None:
        self.path, self.metrics, self.learned = path, metrics, learned

    @property
    def sde(self) -> FittedSDE:
        return self._part("sde")

    @property
    def density(self) -> PhysicalDensity:
        return self._part("density")

    @property
    def verdict(self) -> list[str]:
        """What the data cannot tell, in sentences; empty if all is well."""
        file = self.path / "verdict.txt"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    def drift_over_diffusion(self, t: Tensor | float, x: Tensor) -> Tensor:
        """The ratio f / D, `(..., d)`, which is all that snapshots of a steady state tell."""
        ratio: Tensor = self._part("drift_over_diffusion")(t, x)
        return ratio

    @property
    def score(self) -> Callable[..., Tensor]:
        """The score grad log p, called as `(t, x)`, of a score problem."""
        score: Callable[..., Tensor] = self._part("score")
        return score

    @property
    def ensemble(self) -> Ensemble:
        """The bands of drift, diffusion and named parameters, if an ensemble was fitted."""
        ensemble: Ensemble | None = self._part("ensemble")
        if ensemble is None:
            raise InputError(
                "this run has no ensemble: fit with uncertainty.members=16, or so many."
            )
        return ensemble

    @property
    def field(self) -> Field:
        return self._part("field")

    def __repr__(self) -> str:
        figures = ", ".join(f"{k}={v:.4g}" for k, v in self.metrics.items())
        return f"Run({str(self.path)!r}: {figures})"

    def _part(self, name: str) -> Any:
        if not hasattr(type(self.learned), name) and not hasattr(self.learned, name):
            raise InputError(f"a {type(self.learned).__name__} has no {name}.")
        return getattr(self.learned, name)


def fit(
    problem: Problem,
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    resume: bool = False,
    source: str | Path | None = None,
) -> Run:
    """Fit a problem and leave a run directory behind.

    Nothing is written before the problem and its data have been checked.

    Arguments:
        problem: what to fit.
        out: the run directory; `results/<name>/<date-time>` by default.
        overrides: settings to replace, as `key=value` texts.
        seed: of the split, the weights and the batches; 0 by default.
        device: a torch device.
        dtype: torch.float32 or torch.float64, of networks and batches; float64 by default for a
            PDE, float32 for all else.
        resume: go on with the run in `out`, or with the newest one of this problem, where it
            stopped; its seed, dtype and overrides are taken over.
        source: the file that declares the problem, kept with the run so that it can be loaded.

    Raises:
        InputError: the problem or its data cannot be used, or `out` holds another run.
        TrainingError: a loss is not finite.

    Example:
        >>> import tempfile
        >>> data = hp.Trajectories.from_dense(torch.arange(3.0), torch.randn(20, 3, 1))
        >>> problem = hp.SDEProblem(name="noise", data=data)
        >>> quick = ["transition.first.steps=2", "transition.optimiser.steps=2",
        ...          "transition.whole.steps=1", "density.optimiser.steps=2",
        ...          "density.refine.steps=0", "density.components=1"]
        >>> with tempfile.TemporaryDirectory() as out:
        ...     run = hp.fit(problem, out, overrides=quick)
        noise: writing to ...
        >>> run.sde.f(0.0, torch.zeros(1, 1)).shape
        torch.Size([1, 1])
    """
    if resume:
        path = newest_run(problem) if out is None else Path(out)
        directory = RunDirectory.open(path)
        settings = directory.read_json("settings.json")
        saved = settings["fit"]
        if seed not in (None, saved["seed"]):
            raise InputError(f"seed is {seed}, but the run in {str(path)!r} has {saved['seed']}.")
        seed, overrides = saved["seed"], overrides or saved["overrides"]
        dtype = dtype or _DTYPES[saved["dtype"]]
        state = directory.read_checkpoint()
    else:
        path = _default_out(problem) if out is None else Path(out)
        RunDirectory.check_free(path)
        settings, state = None, None
    code = None if source is None else Path(source).read_bytes()
    declared = problem.name
    problem = override(problem, overrides)
    compute = Compute(seed or 0, _device(device), _dtype(dtype or problem.precision))
    begun = problem.begin(compute)
    wanted: dict[str, Plain] = {
        "name": declared,
        "problem": plain(problem),
        "fit": {
            "seed": compute.seed,
            "dtype": str(compute.dtype),
            "overrides": list(overrides),
            "data": begun.fingerprint(),
        },
    }
    if settings is not None:
        if settings != wanted or directory.holds_other_problem(code):
            raise InputError(
                f"the settings, the data or the problem file are not those of the run in "
                f"{str(path)!r}: to change them, fit into a new directory."
            )
    else:
        directory = RunDirectory.create(path)
        directory.write_json("environment.json", environment(compute.seed, device))
        if code is not None:
            directory.keep_problem(code)

    progress = Progress(Console(file=sys.stdout), directory.note)
    progress.say(f"{problem.name}: {'going on in' if resume else 'writing to'} {path}")

    def save(state: State) -> None:
        directory.write_checkpoint(state)
        directory.write_history(state["history"])

    trainer = Trainer(begun.model, compute.seed, save, progress)
    if state is None:
        save(trainer.state())
        # Last, since it marks the directory as a run that can be gone on with.
        directory.write_json("settings.json", wanted)
    else:
        trainer.restore(state)
    trainer.run(begun.stages())
    metrics = {**begun.metrics(), "steps": trainer.steps, "seconds": round(trainer.seconds, 2)}
    directory.write_json("metrics.json", dict(metrics))
    write_report(directory, problem, begun, metrics, trainer.history)
    sentences = begun.sentences()
    if sentences:
        directory.write_text("verdict.txt", "\n".join(sentences) + "\n")
    for name, value in metrics.items():
        progress.say(f"  {name:22s} {value:.6g}")
    for sentence in sentences:
        progress.say(f"! {sentence}")
    progress.say(f"page: {directory / 'report.html'}")
    return Run(path, metrics, problem.restore(begun.model.state_dict()))


def load(run_directory: str | Path, trust: bool = False, problem: Problem | None = None) -> Run:
    """Load a finished run.

    The weights are read as data. The copy of the problem file is code: it is executed only if a
    fit of this user has run it, or with `trust=True`; or pass the problem. Files beside the
    problem file that it imports are not kept with a run: a problem that needs them must be passed.

    Raises:
        InputError: no run, an untrusted problem file, or a run that is not finished.
    """
    directory = RunDirectory.open(Path(run_directory))
    problem = declared_in(directory, trust, problem)
    state = directory.read_checkpoint()
    metrics = directory.read_json("metrics.json")
    return Run(directory.path, metrics, problem.restore(state["model"]))


def make_report(
    run_directory: str | Path, trust: bool = False, problem: Problem | None = None
) -> Path:
    """Make the page of a finished run anew; returns its path. Arguments as for `load`."""
    directory = RunDirectory.open(Path(run_directory))
    problem = declared_in(directory, trust, problem)
    saved = directory.read_json("settings.json")["fit"]
    state = directory.read_checkpoint()
    metrics = directory.read_json("metrics.json")
    compute = Compute(saved["seed"], torch.device("cpu"), _DTYPES[saved["dtype"]])
    begun = problem.begin(compute)
    begun.model.load_state_dict(state["model"])
    write_report(directory, problem, begun, metrics, state["history"])
    return directory / "report.html"


def declared_in(directory: RunDirectory, trust: bool, problem: Problem | None) -> Problem:
    """The problem given, or else that of the run's own file, with the run's settings."""
    saved = directory.read_json("settings.json")
    if problem is None:
        file, code = directory.trusted_problem(trust)
        problems = run_problem_file(file, code)
        if saved["name"] not in problems:
            raise InputError(f"{str(directory / 'problem.py')!r} declares no {saved['name']!r}.")
        problem = problems[saved["name"]]
    return override(problem, saved["fit"]["overrides"])


def write_report(
    directory: RunDirectory, problem: Problem, begun: Fit, metrics: Metrics, history: list[Row]
) -> None:
    """Write the page of a run."""
    panels: list[Panel] = [*begun.panels(), *charts_of(history)]
    saved = directory.read_json("environment.json")
    write_page(
        directory / "report.html",
        title=problem.name,
        subtitle="  ·  ".join(
            value if key == "kind" else f"{key}: {value}"
            for key, value in problem.summary().items()
        ),
        panels=panels,
        headlines=begun.headlines(metrics),
        facts={
            "Metrics": dict(metrics),
            "Settings": flat(plain(problem)),
            "Environment": flat(saved),
            "Files": FILES,
        },
    )


def newest_run(problem: Problem) -> Path:
    """The newest run of a problem in the default place.

    Raises:
        InputError: there is none.
    """
    runs = sorted((_RESULTS / problem.name).glob("*/settings.json"))
    if not runs:
        raise InputError(
            f"no run of {problem.name!r} in {str(_RESULTS)!r} to go on with: name it with --out."
        )
    return runs[-1].parent


def _default_out(problem: Problem) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    path, number = _RESULTS / problem.name / stamp, 1
    while path.exists():
        number += 1
        path = _RESULTS / problem.name / f"{stamp}-{number}"
    return path


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        # Units are kept in double precision, which not every device has.
        torch.ones(1, device=device, dtype=torch.float64).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used here: {reason}") from error
    return device


def _dtype(dtype: torch.dtype) -> torch.dtype:
    if dtype not in _DTYPES.values():
        raise InputError(f"dtype must be torch.float32 or torch.float64, but is {dtype}.")
    return dtype
