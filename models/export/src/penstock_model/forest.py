"""Trees of a bundle: the rules of sections 4 and 5 of docs/bundle.md."""

from collections.abc import Sequence

import numpy as np

from penstock_model.layout import refuse
from penstock_model.model import (
    DEPTH_MAX,
    LEAF_RANK,
    MISSING_LEFT,
    NO_LEAF,
    Input,
    Missing,
    Trees,
)


def places(first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each node the first of its tree, and its number counted from there."""
    start = np.repeat(first[:-1].astype(np.int64), np.diff(first.astype(np.int64)))
    return start, np.arange(len(start), dtype=np.int64) - start


def _check_first(trees: Trees, outputs: int) -> None:
    first = trees.first.astype(np.int64)
    refuse(first[0] == 0, "forest", "the first tree does not begin at 0")
    refuse(bool((np.diff(first) > 0).all()), "forest", "the trees' begins do not rise")
    refuse(first[-1] == len(trees.nodes), "forest", "the last tree does not end with the nodes")
    refuse(bool((trees.output < outputs).all()), "forest", "a tree adds to no output")


def _check_leaves(trees: Trees, is_leaf: np.ndarray, local: np.ndarray) -> None:
    nodes = trees.nodes
    fits = (nodes["input"] == 0) & (nodes["left"] == local)
    refuse(bool(fits[is_leaf].all()), "forest", "a leaf with an input or a child")
    numbers = np.full(len(nodes), NO_LEAF, dtype=np.int64)
    count = int(is_leaf.sum())
    numbers[is_leaf] = np.arange(count)
    refuse(count == len(trees.origin), "leaves", f"{len(trees.origin)} declared, {count} there")
    refuse(bool((trees.leaf == numbers).all()), "leaves", "leaves are not numbered in order")
    refuse(bool(np.isfinite(trees.value).all()), "leaves", "a value is not finite")


def _check_branches(
    trees: Trees, at: np.ndarray, inputs: Sequence[Input], bins: Sequence[np.ndarray]
) -> None:
    nodes = trees.nodes[at]
    which = (nodes["input"] & ~np.uint16(MISSING_LEFT)).astype(np.int64)
    refuse(bool((which < len(inputs)).all()), "forest", "a node asks for no input")
    own = np.array([i.missing == Missing.BRANCH for i in inputs])
    says = (nodes["input"] & MISSING_LEFT) != 0
    refuse(bool(own[which[says]].all()), "forest", "a missing value's side where it has none")
    counts = np.array([len(t) for t in bins], dtype=np.int64)
    refuse(bool((nodes["rank"] < counts[which]).all()), "forest", "a rank beyond the bins")
    begins = np.concatenate(([0], np.cumsum(counts)))
    used = np.zeros(begins[-1], dtype=bool)
    used[begins[which] + nodes["rank"]] = True
    refuse(bool(used.all()), "bins", "a threshold that no node uses")


def _check_depth(children: np.ndarray, roots: np.ndarray) -> None:
    """children: [nodes, 2], -1 at leaves; each node has one parent, so levels do not overlap."""
    level = roots
    for _ in range(DEPTH_MAX + 1):
        level = children[level].ravel()
        level = level[level >= 0]
        if not len(level):
            return
    refuse(False, "forest", f"a path of more than {DEPTH_MAX} branches")


def _check_links(trees: Trees, branch: np.ndarray, start: np.ndarray, local: np.ndarray) -> None:
    sizes = np.diff(trees.first.astype(np.int64))
    size = np.repeat(sizes, sizes)
    left = trees.nodes["left"].astype(np.int64)
    refuse(bool((left > local)[branch].all()), "forest", "a child is not greater than its parent")
    refuse(bool((left + 1 < size)[branch].all()), "forest", "a child lies outside its tree")
    children = np.full((len(left), 2), -1, dtype=np.int64)
    children[branch, 0] = start[branch] + left[branch]
    children[branch, 1] = children[branch, 0] + 1
    parents = np.bincount(children[branch].ravel(), minlength=len(left))
    one = np.where(local == 0, 0, 1)
    refuse(bool((parents == one).all()), "forest", "a node without one parent")
    _check_depth(children, trees.first[:-1].astype(np.int64))


def check(trees: Trees, inputs: Sequence[Input], bins: Sequence[np.ndarray], outputs: int) -> None:
    """BundleError for trees that the page does not allow; sizes of arrays have been checked."""
    _check_first(trees, outputs)
    start, local = places(trees.first)
    is_leaf = trees.nodes["rank"] == LEAF_RANK
    _check_leaves(trees, is_leaf, local)
    _check_branches(trees, ~is_leaf, inputs, bins)
    _check_links(trees, ~is_leaf, start, local)
