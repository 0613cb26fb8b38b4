"""Transformers: how f_i comes from x_i and h_i. One file per family."""

from hollowpde.nets.transformers.affine_gate import AffineGate
from hollowpde.nets.transformers.base import Transformer, TransformerSpec
from hollowpde.nets.transformers.separate_mlp import SeparateMLP
from hollowpde.nets.transformers.shared_mlp import SharedMLP

__all__ = ["AffineGate", "SeparateMLP", "SharedMLP", "Transformer", "TransformerSpec"]
