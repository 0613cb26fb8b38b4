"""What can be known from the data, and what cannot."""

from hollowpde.problem.sde.verdict.paired import paired_verdict
from hollowpde.problem.sde.verdict.snapshots import is_stationary, refusal, snapshot_verdict
from hollowpde.problem.sde.verdict.verdict import Verdict

__all__ = ["Verdict", "is_stationary", "paired_verdict", "refusal", "snapshot_verdict"]
