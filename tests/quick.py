"""Settings under which a fit takes seconds and learns little."""

from pathlib import Path

PROBLEMS = Path(__file__).parents[1] / "problems"

QUICK = (
    "transition.first.steps=40",
    "transition.optimiser.steps=60",
    "transition.whole.steps=2",
    "transition.stop.every=20",
    "matching.first.steps=2",
    "matching.optimiser.steps=2",
    "density.components=1,2",
    "density.optimiser.steps=40",
    "density.stop.every=20",
    "density.refine.steps=40",
    "data.paths=100",
)
