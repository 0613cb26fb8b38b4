"""The run directory: what a fit leaves behind, every file written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import platformdirs
import torch

from hollowpde.errors import InputError
from hollowpde.files import write_whole
from hollowpde.problem.settings import Plain

FILES = {
    "settings.json": "every setting of the problem and of the fit",
    "environment.json": "versions, seed, device, state of the repository",
    "problem.py": "a copy of the file that declares the problem",
    "history.csv": "losses, learning rate and held-out value as training went on",
    "metrics.json": "the figures of the fit on held-out data",
    "verdict.txt": "what the data cannot tell, if there is anything",
    "checkpoint.pt": "weights and the state of training",
    "report.html": "the page: open it in a browser",
    "log.txt": "how the fit went, stage by stage",
}


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @staticmethod
    def check_free(path: Path) -> None:
        """Check that a run may be put at a path.

        Raises:
            InputError: it is a file, or a directory that holds a run or anything else.
        """
        if path.exists() and not path.is_dir():
            raise InputError(f"out: {str(path)!r} is a file: name a directory.")
        if (path / "settings.json").exists():
            raise InputError(
                f"out: {str(path)!r} holds another run: choose another directory, or continue "
                "that run with --resume."
            )
        if path.exists() and any(path.iterdir()):
            raise InputError(f"out: {str(path)!r} is not empty: choose a new directory.")

    @classmethod
    def create(cls, path: Path) -> RunDirectory:
        """A new run directory, at a path that `check_free` accepts."""
        cls.check_free(path)
        path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run.

        Raises:
            InputError: there is no run.
        """
        if not (path / "settings.json").is_file():
            raise InputError(f"{str(path)!r} is not a run directory: it has no settings.json.")
        return cls(path)

    def note(self, sentence: str) -> None:
        stamp = datetime.now().isoformat(sep=" ", timespec="seconds")
        with (self / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"{stamp}  {sentence}\n")

    def write_json(self, name: str, data: Plain) -> None:
        text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_whole(self / name, lambda file: file.write_text(text, encoding="utf-8"))

    def write_text(self, name: str, text: str) -> None:
        write_whole(self / name, lambda file: file.write_text(text, encoding="utf-8"))

    def read_json(self, name: str) -> Any:
        path = self / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{str(path)!r} cannot be read: {error}.") from error

    def write_history(self, rows: list[dict[str, Any]]) -> None:
        write_whole(
            self / "history.csv", lambda file: pd.DataFrame(rows).to_csv(file, index=False)
        )

    def write_checkpoint(self, state: Mapping[str, Any]) -> None:
        write_whole(self / "checkpoint.pt", lambda file: torch.save(dict(state), file))

    def read_checkpoint(self) -> dict[str, Any]:
        path = self / "checkpoint.pt"
        if not path.is_file():
            raise InputError(
                f"{str(self.path)!r} has no checkpoint yet: the fit stopped before its first one. "
                "Fit again into a new directory."
            )
        try:
            # Data only: a checkpoint from anywhere cannot run code.
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise InputError(f"{str(path)!r} is not a readable checkpoint: {error}") from error
        return state

    def keep_problem(self, code: bytes) -> None:
        """Keep the problem file, and remember that this user has run it."""
        write_whole(self / "problem.py", lambda file: file.write_bytes(code))
        _trust(_hash(code))

    def holds_other_problem(self, code: bytes | None) -> bool:
        """Whether the run was made from another version of the problem file."""
        kept = self / "problem.py"
        return code is not None and kept.is_file() and kept.read_bytes() != code

    def trusted_problem(self, trust: bool) -> tuple[Path, bytes]:
        """The copy of the problem file and the code in it, if running that code is allowed.

        Raises:
            InputError: there is none, or it is not code that this user's own fits have run.
        """
        path = self / "problem.py"
        if not path.is_file():
            raise InputError(
                f"{str(self.path)!r} has no problem.py, because the problem was declared in "
                "Python: pass it, as in hp.load(run, problem=problem)."
            )
        code = path.read_bytes()
        if not trust and _hash(code) not in _trusted():
            raise InputError(
                f"{str(path)!r} is code that no fit of yours has run: read it, then allow it "
                "with trust=True (--trust)."
            )
        return path, code


def environment(seed: int, device: str) -> dict[str, Plain]:
    """What a result depends on beyond its settings."""
    import numpy
    import torchsde

    import hollowpde

    return {
        "hollowpde": hollowpde.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchsde": torchsde.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "seed": seed,
        "device": device,
        "git": _git_state(),
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _git_state() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return done.stdout.strip() or "none"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _trust_file() -> Path:
    return Path(platformdirs.user_state_dir("hollowpde")) / "trusted"


def _trusted() -> set[str]:
    try:
        return set(_trust_file().read_text(encoding="utf-8").split())
    except OSError:
        return set()


def _trust(digest: str) -> None:
    known = _trusted()
    if digest not in known:
        file = _trust_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        text = "\n".join(sorted(known | {digest})) + "\n"
        write_whole(file, lambda f: f.write_text(text, encoding="utf-8"))
