"""Scores: grad log p of data, without a density."""

from hollowpde.problem.score.fit import ScoreMatching
from hollowpde.problem.score.problem import ScoreProblem

__all__ = ["ScoreMatching", "ScoreProblem"]
