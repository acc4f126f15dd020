"""
Models for Penstock: inputs to train on, and bundles to score with (docs/bundle.md). What needs
scikit-learn stands in penstock_model.convert, the reference scorer in penstock_model.score.
"""

from penstock_model.bundle import read, write
from penstock_model.expression import ExpressionError, canonical
from penstock_model.features import Features, Stream, Window
from penstock_model.model import Bundle, BundleError

__all__ = [
    "Bundle",
    "BundleError",
    "ExpressionError",
    "Features",
    "Stream",
    "Window",
    "canonical",
    "read",
    "write",
]
