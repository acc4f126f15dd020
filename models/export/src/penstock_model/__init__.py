"""Models for Penstock: inputs to train on (docs/bundle.md)."""

from penstock_model.expression import ExpressionError, canonical
from penstock_model.features import Features, Stream, Window

__all__ = ["ExpressionError", "Features", "Stream", "Window", "canonical"]
