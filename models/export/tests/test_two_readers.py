"""
One page, two readers: what this package refuses the appliance refuses, and what it takes it takes.
What breaks if they fail: a bundle that passes where it is made and not where it is used.
"""

import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sample_bundle
from penstock_model import read, write
from penstock_model.layout import Section
from penstock_model.model import BundleError

ROOT = Path(__file__).resolve().parents[3]
PENSTOCK = ROOT / os.environ.get("PENSTOCK_BUILD", "build") / "control" / "penstock"
EDITS = 60

# Of what numbers are wrong at their bounds.
ODD = [0, 1, 2, 3, 4, 5, 7, 31, 32, 64, 65, 127, 128, 255, 256, 257, 4095, 4096, 4097, 32767]
ODD += [32768, 65533, 65534, 65535, 1 << 22, (1 << 22) + 1, 1 << 31, (1 << 32) - 1]


def spoil(data: bytes, rng: np.random.Generator) -> bytes:
    """A byte or a number of some section, or of the table, is another; all hashes hold."""
    spoiled = bytearray(data)
    places = list(sample_bundle.places(data).values())
    index, offset, size = places[rng.integers(len(places))]
    if rng.random() < 0.15:  # its entry: type, offset or bytes
        offset, size = 64 + 64 * int(index), 24
    at = offset + int(rng.integers(size))
    match rng.integers(4):
        case 0:
            spoiled[at] ^= 1 << int(rng.integers(8))
        case 1:
            spoiled[at] = int(rng.integers(256))
        case 2:
            at = max(offset, min(at // 4 * 4, offset + size - 4))
            struct.pack_into("<I", spoiled, at, int(rng.choice(ODD)))
        case _:
            at = max(offset, min(at // 2 * 2, offset + size - 2))
            struct.pack_into("<H", spoiled, at, int(rng.choice(ODD)) & 0xFFFF)
    try:
        return bytes(sample_bundle.rehash(spoiled))
    except (ValueError, struct.error):  # a table that leads nowhere
        return bytes(sample_bundle.rehash_header(spoiled))


def taken_here(data: bytes) -> str:
    try:
        read(data)
    except BundleError as e:
        return f"refused: {e}"
    return "taken"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sample_bundle.ALL)
def test_both_take_the_same(name: str, tmp_path: Path) -> None:
    data = write(sample_bundle.ALL[name]())
    file = tmp_path / "m.psm"
    taken = 0
    for seed in range(EDITS):
        spoiled = spoil(data, np.random.default_rng(seed)) if seed else data
        file.write_bytes(spoiled)
        done = subprocess.run([PENSTOCK, "model", "verify", file], capture_output=True, text=True)
        here = taken_here(spoiled)
        assert done.returncode in (0, 1), f"seed {seed}: {done.stderr}"
        assert (done.returncode == 0) == (here == "taken"), f"seed {seed}: {here}; {done.stderr}"
        taken += here == "taken"
    assert 1 <= taken < EDITS


def test_sections_have_the_same_names() -> None:
    """An error names one; people look it up in one page."""
    names = ["model", "schema", "bins", "forest", "leaves", "linear", "output", "metrics"]
    assert [s.name.lower() for s in Section] == [*names, "golden", "provenance"]
