"""What a bundle holds (docs/bundle.md), as plain data: no bytes, no library."""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

BINS_MAX = 65534
CLASSES_MAX = 64
DEPTH_MAX = 64
FILE_BYTES_MAX = 64 << 20
GOLDEN_MAX = 4096
INPUTS_MAX = 256
LABEL_BYTES_MAX = 31
NAME_BYTES_MAX = 31
NODES_MAX = 1 << 22
TREES_MAX = 4096
UNIT_BYTES_MAX = 15

MISSING_RANK = LEAF_RANK = 65535
MISSING_LEFT = 0x8000  # bit of a node's input
NO_LEAF = 0xFFFFFFFF

NODE = np.dtype([("input", "<u2"), ("rank", "<u2"), ("left", "<u4")])


class BundleError(ValueError):
    """What docs/bundle.md does not allow: the section and the reason."""

    def __init__(self, section: str, reason: str) -> None:
        super().__init__(f"{section}: {reason}")
        self.section = section
        self.reason = reason


class Kind(IntEnum):
    FOREST = 1
    BOOSTED = 2
    LINEAR = 3


class Task(IntEnum):
    REGRESSION = 1
    BINARY = 2
    MULTICLASS = 3


class Rows(IntEnum):
    READINGS = 1
    WINDOWS = 2


class Missing(IntEnum):
    REFUSED = 1
    IMPUTED = 2
    BRANCH = 3


class Link(IntEnum):
    IDENTITY = 0
    SIGMOID = 1
    SOFTMAX = 2


def link_of(kind: Kind, task: Task) -> Link:
    """A forest's leaves hold what comes out; sums of boosted trees and of weights do not."""
    if kind == Kind.FOREST or task == Task.REGRESSION:
        return Link.IDENTITY
    return Link.SIGMOID if task == Task.BINARY else Link.SOFTMAX


@dataclass(frozen=True)
class Input:
    """imputed is a float32's value; slide_ns is that of the window, 0 where there is none."""

    expression: str
    size_ns: int = 0
    slide_ns: int = 0
    missing: Missing = Missing.REFUSED
    imputed: float = 0.0


@dataclass(frozen=True)
class Trees:
    """
    first: uint32 [trees + 1]; output: uint32 [trees], zeros for a forest; nodes: NODE [nodes];
    leaf: uint32 [nodes], NO_LEAF for branches; origin: uint32 [leaves], node of the library's tree;
    value: float64 [leaves, outputs], of boosted trees [leaves, 1].
    """

    first: np.ndarray
    output: np.ndarray
    nodes: np.ndarray
    leaf: np.ndarray
    origin: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class Linear:
    """weight: float64 [outputs, inputs]; bias: float64 [outputs]."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Golden:
    """input: float32 [rows, inputs]; leaf: uint32 [rows, trees]; out: float64 [rows, outputs]."""

    input: np.ndarray
    leaf: np.ndarray
    out: np.ndarray


@dataclass(frozen=True)
class Bundle:
    """bins: of each input the thresholds, float32, none for linear; start: float64 [outputs]."""

    name: str
    version: int
    kind: Kind
    task: Task
    inputs: tuple[Input, ...]
    start: np.ndarray
    golden: Golden
    bins: tuple[np.ndarray, ...] = ()
    trees: Trees | None = None
    linear: Linear | None = None
    rows: Rows = Rows.READINGS
    classes: tuple[str, ...] = ()
    threshold: float = 0.0
    unit: str = ""
    metrics: dict = field(default_factory=dict)
    provenance: dict = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        return len(self.start)

    @property
    def tree_count(self) -> int:
        return len(self.trees.first) - 1 if self.trees else 0

    @property
    def node_count(self) -> int:
        return len(self.trees.nodes) if self.trees else 0

    @property
    def leaf_count(self) -> int:
        return len(self.trees.origin) if self.trees else 0

    @property
    def link(self) -> Link:
        return link_of(self.kind, self.task)
