"""Training: the trainer, its progress and history, and the run directory."""

from hollowpde.training.history import Row, charts_of
from hollowpde.training.progress import Progress
from hollowpde.training.run import FILES, RunDirectory, environment
from hollowpde.training.running import State
from hollowpde.training.trainer import Trainer

__all__ = [
    "FILES",
    "Progress",
    "Row",
    "RunDirectory",
    "State",
    "Trainer",
    "charts_of",
    "environment",
]
