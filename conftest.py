"""What every test and doctest starts from: a fixed seed, and the names that examples use."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torchsde

import hollowpde as hp

# The first forward-mode pass of a process makes torch script its own decompositions, which it
# warns about; warnings are errors here, and the test that came first would be the one to fail.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    torch.func.jvp(torch.sin, (torch.ones(1),), (torch.ones(1),))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _names(doctest_namespace: dict[str, Any]) -> None:
    doctest_namespace.update(hp=hp, torch=torch, torchsde=torchsde)
