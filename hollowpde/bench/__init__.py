"""Benchmarks, one module each, with `TABLES` by name and `run(names, budget, out)`."""

from hollowpde.bench import operators

BENCHES = {"operators": operators}

__all__ = ["BENCHES"]
