"""Benchmarks, one module each, with `run(repeats, out)`."""

from hollowpde.bench import operators

BENCHES = {"operators": operators}

__all__ = ["BENCHES"]
