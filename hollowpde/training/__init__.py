"""Training: the trainer, its progress and history, and the run directory."""

from hollowpde.training.history import Row, loss_charts
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
    "environment",
    "loss_charts",
]
