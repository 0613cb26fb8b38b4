"""The problem files that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def shipped_problems() -> dict[str, Path]:
    """The shipped problem files by name (in a source tree, those beside the package)."""
    package = Path(str(resources.files("hollowpde")))
    for folder in (package / "_problems", package.parent / "problems"):
        if folder.is_dir():
            return {file.stem: file for file in sorted(folder.glob("*.py"))}
    return {}
