"""Training: stages, checkpoints, run directories."""

from hollowpde.training.fit import Run, fit, load, make_report

__all__ = ["Run", "fit", "load", "make_report"]
