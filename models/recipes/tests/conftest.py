"""Lets the tests run without the packages being installed."""

import sys
from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(MODELS / "recipes"), str(MODELS / "export" / "src")]
