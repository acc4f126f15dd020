"""Where things lie."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / os.environ.get("PENSTOCK_BUILD", "build-release")
WORK = ROOT / "build" / "bench"

sys.path.insert(0, str(ROOT / "tests" / "system"))  # kafka.py


class Unavailable(RuntimeError):
    """A program that this machine cannot build or run; its row says why."""
