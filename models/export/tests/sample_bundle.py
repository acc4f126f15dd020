"""Small bundles made by hand, and the means to spoil them with good hashes."""

import dataclasses
import hashlib
import struct

import numpy as np
from penstock_model.layout import Section
from penstock_model.model import (
    LEAF_RANK,
    MISSING_LEFT,
    NO_LEAF,
    NODE,
    Bundle,
    Golden,
    Input,
    Kind,
    Linear,
    Missing,
    Task,
    Trees,
)
from penstock_model.score import score

MINUTE = 60 * 10**9
HEADER, ENTRY = 64, 64

INPUTS = (
    Input("temperature"),
    Input("mean(temperature,5m)", 5 * MINUTE, MINUTE, Missing.IMPUTED, 20.5),
    Input("delta(humidity)", missing=Missing.BRANCH),
)
BINS = tuple(np.array(x, dtype=np.float32) for x in ([1, 2], [0.5], [-1]))


def leaf(at: int) -> tuple[int, int, int]:
    return (0, LEAF_RANK, at)


NODES = np.array(
    [
        (0, 0, 1),
        leaf(1),
        (1, 0, 3),
        leaf(3),
        (0, 1, 5),
        leaf(5),
        leaf(6),
        (2 | MISSING_LEFT, 0, 1),
        leaf(1),
        leaf(2),
    ],
    dtype=NODE,
)


def trees(values: np.ndarray, output: tuple[int, int] = (0, 0)) -> Trees:
    is_leaf = NODES["rank"] == LEAF_RANK
    numbers = np.full(len(NODES), NO_LEAF, dtype=np.uint32)
    numbers[is_leaf] = np.arange(6)
    return Trees(
        np.array([0, 7, 10], dtype=np.uint32),
        np.array(output, dtype=np.uint32),
        NODES,
        numbers,
        np.array([1, 3, 7, 8, 1, 2], dtype=np.uint32),
        np.asarray(values, dtype=np.float64),
    )


def rows() -> np.ndarray:
    rng = np.random.default_rng(1)
    found = rng.normal(1, 2, (9, 3)).astype(np.float32)
    found[1:4] = np.where(np.eye(3, dtype=bool), np.float32(np.nan), found[1:4])
    return found


def with_golden(b: Bundle) -> Bundle:
    got = score(b, b.golden.input)
    return dataclasses.replace(b, golden=Golden(b.golden.input, got.leaf, got.out))


def _bundle(kind: Kind, task: Task, outputs: int, **parts: object) -> Bundle:
    nothing = Golden(rows(), np.empty((0, 0)), np.empty((0, 0)))
    start = np.full(outputs, 0.25) if kind == Kind.BOOSTED else np.zeros(outputs)
    b = Bundle(
        name="sample-1",
        version=7,
        kind=kind,
        task=task,
        inputs=INPUTS,
        start=start,
        golden=nothing,
        metrics={"data": "none", "größe": [1, 2.5]},
        provenance={"recipe": "by hand"},
        **parts,
    )
    return with_golden(b)


def forest() -> Bundle:
    values = np.array([[0.1], [0.25], [0.5], [1], [0], [0.75]])
    labels = {"classes": ("good", "schlecht ü"), "threshold": 0.5}
    return _bundle(Kind.FOREST, Task.BINARY, 1, bins=BINS, trees=trees(values), **labels)


def forest_of_classes() -> Bundle:
    values = np.random.default_rng(2).dirichlet([1, 1, 1], 6)
    b = {"bins": BINS, "trees": trees(values), "classes": ("a", "b", "c")}
    return _bundle(Kind.FOREST, Task.MULTICLASS, 3, **b)


def boosted() -> Bundle:
    values = np.random.default_rng(3).normal(0, 1, (6, 1))
    b = {"bins": BINS, "trees": trees(values, (2, 0)), "classes": ("a", "b", "c")}
    return _bundle(Kind.BOOSTED, Task.MULTICLASS, 3, **b)


def boosted_value() -> Bundle:
    values = np.random.default_rng(4).normal(0, 1, (6, 1))
    return _bundle(Kind.BOOSTED, Task.REGRESSION, 1, bins=BINS, trees=trees(values), unit="°C")


def linear() -> Bundle:
    inputs = (*INPUTS[:2], dataclasses.replace(INPUTS[2], missing=Missing.REFUSED))
    parts = Linear(np.array([[0.5, -1.25, 3]]), np.array([0.125]))
    b = _bundle(Kind.LINEAR, Task.BINARY, 1, linear=parts, classes=("0", "1"), threshold=0.25)
    return with_golden(dataclasses.replace(b, inputs=inputs))


ALL = {
    "forest": forest,
    "forest_of_classes": forest_of_classes,
    "boosted": boosted,
    "boosted_value": boosted_value,
    "linear": linear,
}

# --- spoiling -----------------------------------------------------------------------------------


def places(data: bytes) -> dict[Section, tuple[int, int, int]]:
    """Of each section its entry's index, its offset and its bytes."""
    count = struct.unpack_from("<I", data, 12)[0]
    found = {}
    for index in range(count):
        kind, _, offset, size = struct.unpack_from("<IIQQ", data, HEADER + ENTRY * index)
        found[Section(kind)] = (index, offset, size)
    return found


def rehash_header(data: bytearray) -> bytearray:
    count = struct.unpack_from("<I", data, 12)[0]
    table = bytes(data[HEADER : HEADER + ENTRY * count])
    data[24:56] = hashlib.sha256(bytes(data[:24]) + table).digest()
    return data


def rehash(data: bytearray) -> bytearray:
    """All hashes as the bytes say, so that nothing but what they mean can be wrong."""
    for index, offset, size in places(bytes(data)).values():
        at = HEADER + ENTRY * index + 24
        data[at : at + 32] = hashlib.sha256(bytes(data[offset : offset + size])).digest()
    return rehash_header(data)


def lie(data: bytes, section: Section, at: int, layout: str, value: object) -> bytes:
    """One value of a section changed, its hashes right."""
    spoiled = bytearray(data)
    struct.pack_into("<" + layout, spoiled, places(data)[section][1] + at, value)
    return bytes(rehash(spoiled))
