"""What a benchmark was run with, for its head."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import torch


def versions(*packages: str) -> str:
    """Of Python, and of those packages that are installed."""
    installed = {package.name.lower(): package.version for package in metadata.distributions()}
    named = [f"{name} {installed[name]}" for name in packages if name in installed]
    return ", ".join([f"Python {platform.python_version()}", *named])


def load() -> float:
    """How many processes wanted each core in the last minute; where that is unknown, none."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0


def processor() -> str:
    """Its name, if the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def keep_freed_memory() -> None:
    """Just below glibc's largest threshold for memory that it maps anew at each allocation.

    What is freed raises the threshold to its own size. Most programs get there by themselves.
    """
    torch.zeros(8 * 2**20 - 4096)
