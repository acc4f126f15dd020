"""Where things lie; the broker of the tests, which is the broker of the bench."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / os.environ.get("PENSTOCK_BUILD", "build-release")
WORK = ROOT / "build" / "bench"

sys.path.insert(0, str(ROOT / "tests" / "system"))
from kafka import KafkaServer, cache_dir, fetch  # noqa: E402

__all__ = ["BUILD", "ROOT", "WORK", "KafkaServer", "Unavailable", "cache_dir", "fetch"]


class Unavailable(RuntimeError):
    """A program that this machine cannot build or run; its row says why."""
