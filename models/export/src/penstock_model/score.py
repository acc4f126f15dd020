"""
Scores rows with a bundle, slowly and plainly: the reference that engines are compared with, and
what the golden rows of a bundle are checked by (docs/bundle.md, "Scoring").
"""

from dataclasses import dataclass

import numpy as np

from penstock_model.layout import refuse
from penstock_model.model import (
    LEAF_RANK,
    MISSING_LEFT,
    MISSING_RANK,
    NO_LEAF,
    Bundle,
    Kind,
    Link,
    Missing,
    Task,
    Trees,
)

LINK_TOLERANCE = 1e-12
LINEAR_TOLERANCE = 1e-9
NO_CLASS = -1


@dataclass(frozen=True)
class Scores:
    """
    raw, out: float64 [rows, outputs], before and behind the link; leaf: uint32 [rows, trees],
    counted from the tree's first node; label: int64 [rows], the class. A row with a refused input
    has NaN, NO_LEAF and NO_CLASS; so has every row of a regression its class.
    """

    raw: np.ndarray
    out: np.ndarray
    leaf: np.ndarray
    label: np.ndarray

    @property
    def probability(self) -> np.ndarray:
        """Of a binary model that of class 1, of a multi-class one that of the row's class."""
        return self.out.max(axis=1)


def _filled(bundle: Bundle, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows with what is imputed, NaN where something is missing; which rows are refused."""
    x = np.where(np.isfinite(rows), rows, np.float32(np.nan)).astype(np.float32)
    refused = np.zeros(len(x), dtype=bool)
    for i, spec in enumerate(bundle.inputs):
        gone = np.isnan(x[:, i])
        if spec.missing == Missing.IMPUTED:
            x[gone, i] = np.float32(spec.imputed)
        elif spec.missing == Missing.REFUSED:
            refused |= gone
    return x, refused


def ranks(bundle: Bundle, x: np.ndarray) -> np.ndarray:
    """uint16 [rows, inputs]: how many thresholds of the input are smaller."""
    found = np.full(x.shape, MISSING_RANK, dtype=np.uint16)
    for i, thresholds in enumerate(bundle.bins):
        there = ~np.isnan(x[:, i])
        found[there, i] = np.searchsorted(thresholds, x[there, i], side="left")
    return found


def _walk(trees: Trees, tree: int, rank: np.ndarray) -> np.ndarray:
    """The leaf of each row in one tree, counted from the tree's first node."""
    nodes = trees.nodes[trees.first[tree] : trees.first[tree + 1]]
    which = nodes["input"] & np.uint16(MISSING_LEFT - 1)
    missing_left = (nodes["input"] & MISSING_LEFT) != 0
    row = np.arange(len(rank))
    at = np.zeros(len(rank), dtype=np.int64)
    going = nodes["rank"][at] != LEAF_RANK
    while going.any():
        row_going, here = row[going], at[going]
        r = rank[row_going, which[here]]
        left = np.where(r == MISSING_RANK, missing_left[here], r <= nodes["rank"][here])
        at[going] = nodes["left"][here] + np.where(left, 0, 1)
        going = nodes["rank"][at] != LEAF_RANK
    return at


def _score_trees(bundle: Bundle, trees: Trees, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rank = ranks(bundle, x)
    total = np.tile(bundle.start, (len(x), 1))
    leaf = np.empty((len(x), bundle.tree_count), dtype=np.uint32)
    for tree in range(bundle.tree_count):
        leaf[:, tree] = _walk(trees, tree, rank)
        value = trees.value[trees.leaf[trees.first[tree] + leaf[:, tree]]]
        if bundle.kind == Kind.FOREST:
            total += value
        else:
            total[:, trees.output[tree]] += value[:, 0]
    return (total / bundle.tree_count if bundle.kind == Kind.FOREST else total), leaf


def _score_linear(bundle: Bundle, x: np.ndarray) -> np.ndarray:
    """Input by input, so that the order of the sum is the page's."""
    assert bundle.linear
    total = np.zeros((len(x), bundle.outputs))
    for i in range(len(bundle.inputs)):
        total += x[:, i : i + 1].astype(np.float64) * bundle.linear.weight[:, i]
    return total + bundle.linear.bias


def linked(raw: np.ndarray, link: Link) -> np.ndarray:
    if link == Link.IDENTITY:
        return raw
    with np.errstate(over="ignore"):
        if link == Link.SIGMOID:
            return 1 / (1 + np.exp(-raw))
        e = np.exp(raw - raw.max(axis=1, keepdims=True))
    return e / np.cumsum(e, axis=1)[:, -1:]


def _labels(bundle: Bundle, out: np.ndarray) -> np.ndarray:
    if bundle.task == Task.REGRESSION:
        return np.full(len(out), NO_CLASS)
    if bundle.task == Task.BINARY:
        return (out[:, 0] > bundle.threshold).astype(np.int64)
    return out.argmax(axis=1)


def score(bundle: Bundle, rows: np.ndarray) -> Scores:
    """rows: float32 [n, inputs]; what is not finite is missing."""
    rows = np.asarray(rows, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != len(bundle.inputs):
        raise ValueError(f"rows of shape {rows.shape}, {len(bundle.inputs)} inputs are wanted")
    x, refused = _filled(bundle, rows)
    if bundle.trees:
        raw, leaf = _score_trees(bundle, bundle.trees, x)
    else:
        x[refused] = 0
        raw, leaf = _score_linear(bundle, x), np.empty((len(x), 0), dtype=np.uint32)
    out = linked(raw, bundle.link).copy()
    label = _labels(bundle, out)
    raw[refused], out[refused] = np.nan, np.nan
    leaf[refused], label[refused] = NO_LEAF, NO_CLASS
    return Scores(raw, out, leaf, label)


def _outputs_agree(bundle: Bundle, got: np.ndarray, want: np.ndarray) -> np.ndarray:
    if bundle.kind == Kind.LINEAR:
        with np.errstate(invalid="ignore"):
            near = np.abs(got - want) <= LINEAR_TOLERANCE * np.maximum(1, np.abs(want))
    elif bundle.link == Link.IDENTITY:
        near = got.view(np.uint64) == want.view(np.uint64)
    else:
        near = np.abs(got - want) <= LINK_TOLERANCE
    return near | (np.isnan(got) & np.isnan(want))


def check_golden(bundle: Bundle) -> None:
    """BundleError with the first golden row that comes out differently."""
    got, want = score(bundle, bundle.golden.input), bundle.golden
    leaves = (got.leaf == want.leaf).all(axis=1)
    outputs = _outputs_agree(bundle, got.out, np.ascontiguousarray(want.out)).all(axis=1)
    for good, what in ((leaves, "another leaf"), (outputs, "another output")):
        row = int(np.argmin(good))
        refuse(bool(good.all()), "golden", f"row {row} has {what}")
