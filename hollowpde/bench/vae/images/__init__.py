"""Images of 28 x 28 grey values from the files that people have. One format per file."""

from hollowpde.bench.vae.images.images import Images
from hollowpde.bench.vae.images.load import load
from hollowpde.bench.vae.images.split import Split, counts, split

__all__ = ["Images", "Split", "counts", "load", "split"]
