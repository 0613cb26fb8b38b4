"""Transformers: how f_i comes from x_i and h_i. One file per family."""

from hollowpde.nets.transformers.base import Transformer, TransformerSpec
from hollowpde.nets.transformers.shared_mlp import SharedMLP

__all__ = ["SharedMLP", "Transformer", "TransformerSpec"]
