"""
From a library's trees to ranks, without loss: thresholds go back through the steps in front of the
trees to the raw float32 inputs, so that `x <= t` holds exactly where the library goes left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from penstock_model.model import (
    BINS_MAX,
    DEPTH_MAX,
    LEAF_RANK,
    MISSING_LEFT,
    NO_LEAF,
    NODE,
    Trees,
)

# float32 [n, inputs] to what the trees see; rising in each input, each for itself.
Front = Callable[[np.ndarray], np.ndarray]

# Finite float32 as integers in the same order; -0 and 0 are one.
KEY_MAX = 0x7F7FFFFF
KEY_NONE = -KEY_MAX - 1  # below all: no float32 goes left


class ConvertError(ValueError):
    """What cannot be converted, by name, and why."""


@dataclass(frozen=True)
class LibraryTree:
    """
    left, right: node numbers, -1 at leaves; feature: of branches; left where x <= threshold, in
    float64; missing_left: where a missing value goes; value: [nodes, w]; output: that it adds to.
    """

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray
    output: int = 0


def float_of(key: np.ndarray) -> np.ndarray:
    key = np.asarray(key, dtype=np.int64)
    return np.where(key >= 0, key, 0x80000000 - key).astype(np.uint32).view(np.float32)


def key_of(x: np.ndarray) -> np.ndarray:
    bits = np.asarray(x, dtype=np.float32).view(np.uint32).astype(np.int64)
    return np.where(bits < 0x80000000, bits, 0x80000000 - bits)


def thresholds(trees: Sequence[LibraryTree], inputs: int) -> list[np.ndarray]:
    """Of each input all that the library compares with, rising."""
    feature = np.concatenate([t.feature[t.left >= 0] for t in trees])
    value = np.concatenate([t.threshold[t.left >= 0] for t in trees])
    return [np.unique(value[feature == i]) for i in range(inputs)]


def pull_back(front: Front, limits: Sequence[np.ndarray]) -> list[np.ndarray]:
    """
    Of each limit the key of the greatest float32 that the front does not take above it: bisection
    over all of them, every limit of every input at once.
    """
    shape = (max([1, *map(len, limits)]), len(limits))
    limit = np.full(shape, np.inf)
    for i, x in enumerate(limits):
        limit[: len(x), i] = x
    low = np.full(shape, KEY_NONE)
    high = np.full(shape, KEY_MAX + 1)
    while (unsure := high - low > 1).any():
        middle = np.where(unsure, (low + high) // 2, 0)
        below = front(float_of(middle)) <= limit
        low = np.where(unsure & below, middle, low)
        high = np.where(unsure & ~below, middle, high)
    return [low[: len(x), i] for i, x in enumerate(limits)]


def imputed_key(
    limits: np.ndarray, keys: np.ndarray, seen: float, candidates: Sequence[int]
) -> int | None:
    """
    Which raw value stands for a missing one, which the trees see as `seen`: the first that goes
    the same way at each threshold. None where there is no such float32, for all of the library's
    limits beside it lie between two of them.
    """
    left = seen <= limits
    for key in candidates:
        if key != KEY_NONE and ((key <= keys) == left).all():
            return key
    return None


@dataclass(frozen=True)
class _Cut:
    """
    A tree's branches on raw inputs. key: of the threshold; to: the only child that anything
    reaches, else -1; swapped: left and right.
    """

    key: list[int]
    to: list[int]
    swapped: list[bool]


def _cut(tree: LibraryTree, key: np.ndarray, own: np.ndarray) -> _Cut:
    """own: of each node, whether a missing value takes its own way there."""
    branch = tree.left >= 0
    never = branch & (key == KEY_NONE)  # no finite value goes left
    always = branch & (key == KEY_MAX)
    to = np.full(len(key), -1)
    to[always & ~(own & ~tree.missing_left)] = 0
    to[never & ~(own & tree.missing_left)] = 1
    # Only what is missing goes left: so it goes right of the greatest float32, all others left.
    swapped = never & (to < 0)
    key = np.where(swapped, KEY_MAX, key)
    to = np.where(to < 0, -1, np.where(to == 0, tree.left, tree.right))
    return _Cut(key.tolist(), to.tolist(), swapped.tolist())


def _order(tree: LibraryTree, cut: _Cut, number: int) -> tuple[list[int], list[int]]:
    """
    The library's nodes that are kept, level by level, so that siblings are neighbours; and of each
    where its left child comes, a leaf itself.
    """
    left, right = tree.left.tolist(), tree.right.tolist()

    def kept(node: int) -> int:
        while cut.to[node] >= 0:
            node = cut.to[node]
        return node

    order, depth, left_at = [kept(0)], [0], []
    for at, node in enumerate(order):
        if left[node] < 0:
            left_at.append(at)
            continue
        left_at.append(len(order))
        pair = (kept(left[node]), kept(right[node]))
        order.extend(reversed(pair) if cut.swapped[node] else pair)
        depth.extend([depth[at] + 1] * 2)
    if depth[-1] > DEPTH_MAX:
        raise ConvertError(
            f"tree {number} is {depth[-1]} branches deep, {DEPTH_MAX} at most: train with max_depth"
        )
    return order, left_at


@dataclass(frozen=True)
class Quantized:
    """local: of each tree the bundle's node for each of the library's, -1 where it is not kept."""

    bins: tuple[np.ndarray, ...]
    trees: Trees
    local: list[np.ndarray]


@dataclass(frozen=True)
class _Laid:
    """One tree in its order, its thresholds still keys."""

    order: np.ndarray
    leaf: np.ndarray
    feature: np.ndarray
    key: np.ndarray
    missing_left: np.ndarray
    left: np.ndarray


def _lay(tree: LibraryTree, key: np.ndarray, own: np.ndarray, number: int) -> _Laid:
    cut = _cut(tree, key, own)
    order, left = (np.array(x, dtype=np.int64) for x in _order(tree, cut, number))
    swapped = np.array(cut.swapped)[order]
    return _Laid(
        order,
        tree.left[order] < 0,
        tree.feature[order],
        np.array(cut.key)[order],
        (tree.missing_left & own)[order] & ~swapped,
        left,
    )


def _keys_of(tree: LibraryTree, limits: list[np.ndarray], keys: list[np.ndarray]) -> np.ndarray:
    found = np.zeros(len(tree.left), dtype=np.int64)
    for i in np.unique(tree.feature[tree.left >= 0]):
        at = (tree.left >= 0) & (tree.feature == i)
        found[at] = keys[i][np.searchsorted(limits[i], tree.threshold[at])]
    return found


def _bins(laid: list[_Laid], inputs: int) -> list[np.ndarray]:
    """The keys that are left, rising; equal ones are one."""
    feature = np.concatenate([t.feature[~t.leaf] for t in laid])
    key = np.concatenate([t.key[~t.leaf] for t in laid])
    found = [np.unique(key[feature == i]) for i in range(inputs)]
    for i, bins in enumerate(found):
        if len(bins) > BINS_MAX:
            raise ConvertError(f"input {i} has {len(bins)} thresholds, at most {BINS_MAX}")
    return found


def _nodes(t: _Laid, bins: list[np.ndarray]) -> np.ndarray:
    nodes = np.zeros(len(t.order), dtype=NODE)
    nodes["left"] = t.left
    nodes["rank"][t.leaf] = LEAF_RANK
    nodes["input"][~t.leaf] = (t.feature + np.where(t.missing_left, MISSING_LEFT, 0))[~t.leaf]
    for i in np.unique(t.feature[~t.leaf]):
        at = ~t.leaf & (t.feature == i)
        nodes["rank"][at] = np.searchsorted(bins[i], t.key[at])
    return nodes


def quantize(
    trees: Sequence[LibraryTree],
    limits: list[np.ndarray],
    keys: list[np.ndarray],
    own: Sequence[bool],
) -> Quantized:
    """limits: thresholds(); keys: pull_back() of them; own: inputs whose missing values branch."""
    inputs = len(limits)
    owns = np.array([*own, False])  # a leaf's feature is negative
    laid = [
        _lay(t, _keys_of(t, limits, keys), owns[np.where(t.left >= 0, t.feature, inputs)], n)
        for n, t in enumerate(trees)
    ]
    bins = _bins(laid, inputs)
    leaf = np.concatenate([t.leaf for t in laid])
    numbers = np.full(len(leaf), NO_LEAF, dtype=np.uint32)
    numbers[leaf] = np.arange(leaf.sum())
    local = []
    for tree, t in zip(trees, laid, strict=True):
        local.append(np.full(len(tree.left), -1))
        local[-1][t.order] = np.arange(len(t.order))
    return Quantized(
        tuple(float_of(x) for x in bins),
        Trees(
            np.cumsum([0, *(len(t.order) for t in laid)]).astype(np.uint32),
            np.array([t.output for t in trees], dtype=np.uint32),
            np.concatenate([_nodes(t, bins) for t in laid]),
            numbers,
            np.concatenate([t.order[t.leaf] for t in laid]).astype(np.uint32),
            # A zero is not negative: sums begin with 0, the library's as ours.
            np.concatenate([x.value[t.order[t.leaf]] for x, t in zip(trees, laid, strict=True)])
            + 0.0,
        ),
        local,
    )
