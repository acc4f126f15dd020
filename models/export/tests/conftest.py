"""Lets the tests run without the package being installed."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

# What is trained here is so small that threads, which spin while they wait, only cost.
os.environ.setdefault("OMP_NUM_THREADS", "1")
