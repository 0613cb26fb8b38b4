"""The registry: problems are declared in plain Python files that call `register`."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from hollowpde.errors import InputError, nearest
from hollowpde.problem.base import Problem

P = TypeVar("P", bound=Problem)

# The registry of the file that is being loaded; None outside of `load_problems`.
_loading: ContextVar[dict[str, Problem] | None] = ContextVar("_loading", default=None)


def register(problem: P) -> P:
    """Make a problem known to whoever loads this file; returns it.

    Run as an ordinary script, a problem file registers nothing and does no harm.

    Raises:
        InputError: not a problem, or a name that is taken.
    """
    if not isinstance(problem, Problem):
        raise InputError(
            f"register takes a problem, such as hp.SDEProblem(...), but got a "
            f"{type(problem).__name__}."
        )
    registry = _loading.get()
    if registry is not None:
        if problem.name in registry:
            raise InputError(
                f"the name {problem.name!r} is registered twice: give each problem its own."
            )
        registry[problem.name] = problem
    return problem


def load_problems(path: str | Path) -> dict[str, Problem]:
    """Run a problem file and return what it registers, by name.

    The file is ordinary Python and runs with the user's own rights, like any script.

    Raises:
        InputError: no such file, not Python, an error while it runs, or nothing registered.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no problem file at {str(path)!r}: check the path.")
    if path.suffix != ".py":
        raise InputError(f"{str(path)!r} is not a Python file: a problem file ends in .py.")
    with _importable(path.resolve().parent):
        return run_problem_file(path, path.read_bytes())


def run_problem_file(path: Path, code: bytes) -> dict[str, Problem]:
    """Run the code of a problem file and return what it registers, by name.

    The code is given, so that what is run is what was looked at; `path` is what errors name.
    """
    registry: dict[str, Problem] = {}
    token = _loading.set(registry)
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module
    try:
        exec(compile(code, str(path), "exec"), module.__dict__)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error
    except SyntaxError as error:
        raise InputError(
            f"{path.name}, line {error.lineno}: not valid Python ({error.msg})."
        ) from error
    except (Exception, SystemExit) as error:
        raise InputError(f"{path.name} raised {_named(error, path)}") from error
    finally:
        _loading.reset(token)
        if before is None:
            del sys.modules[path.stem]
        else:
            sys.modules[path.stem] = before
    if not registry:
        raise InputError(
            f"{path.name} registers no problem: call hp.register(hp.SDEProblem(...)) in it."
        )
    return registry


def find_problem(reference: str) -> tuple[Problem, Path]:
    """The problem that FILE or FILE:NAME means, and its file.

    FILE alone is the problem named like the file, else the only one.

    Raises:
        InputError: an unknown name, or several problems to choose from.
    """
    # A path may hold colons of its own.
    file, colon, name = reference.rpartition(":")
    if not colon or Path(reference).is_file():
        file, name = reference, ""
    path = Path(file)
    problems = load_problems(path)
    if name:
        if name not in problems:
            raise InputError(f"{path.name} has no problem {name!r}: {nearest(name, problems)}")
        return problems[name], path
    if path.stem in problems:
        return problems[path.stem], path
    if len(problems) == 1:
        return next(iter(problems.values())), path
    names = ", ".join(f"{file}:{n}" for n in problems)
    raise InputError(f"{path.name} registers several problems, choose one: {names}.")


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let a problem file import its neighbours, as a script may."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _named(error: BaseException, path: Path) -> str:
    """An error with the line of the problem file in which it arose."""
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    where = "" if line is None else f" in line {line}"
    return f"{type(error).__name__}{where}: {error}"
