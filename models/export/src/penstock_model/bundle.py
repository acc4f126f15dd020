"""Bundles as bytes (docs/bundle.md). read() takes nothing that the page does not allow."""

import json
import math
import re
import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from penstock_model import expression, forest, layout
from penstock_model.layout import Section, refuse
from penstock_model.model import (
    BINS_MAX,
    CLASSES_MAX,
    GOLDEN_MAX,
    INPUTS_MAX,
    LABEL_BYTES_MAX,
    NAME_BYTES_MAX,
    NODE,
    NODES_MAX,
    TREES_MAX,
    UNIT_BYTES_MAX,
    Bundle,
    BundleError,
    Golden,
    Input,
    Kind,
    Linear,
    Missing,
    Rows,
    Task,
    Trees,
    link_of,
)
from penstock_model.score import check_golden

_MODEL = struct.Struct("<32sIBBBBIIIIIId56s")
_INPUT = struct.Struct("<96sqqfIII")
_OUTPUT = struct.Struct("<B3sI16s")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_LABEL_BYTES = 32

_ALL = {
    Section.MODEL,
    Section.SCHEMA,
    Section.OUTPUT,
    Section.METRICS,
    Section.GOLDEN,
    Section.PROVENANCE,
}
_OF_TREES = {Section.BINS, Section.FOREST, Section.LEAVES}


@dataclass(frozen=True)
class _Head:
    """The model section: what all others are measured by."""

    name: str
    version: int
    kind: Kind
    task: Task
    rows: Rows
    inputs: int
    outputs: int
    trees: int
    nodes: int
    leaves: int
    golden: int
    threshold: float


class _Source:
    """Takes arrays and structs from a section's front, and refuses what is too short or long."""

    def __init__(self, section: Section, data: bytes) -> None:
        self.name = section.name.lower()
        self.data = data
        self.at = 0

    def raw(self, n: int) -> bytes:
        self.need(n)
        self.at += n
        return self.data[self.at - n : self.at]

    def need(self, n: int) -> None:
        short = self.at + n - len(self.data)
        refuse(short <= 0, self.name, f"{len(self.data)} bytes, {short} too few")

    def array(self, dtype: str | np.dtype, *shape: int) -> np.ndarray:
        kind = np.dtype(dtype)
        count = math.prod(shape)
        return np.frombuffer(self.raw(count * kind.itemsize), dtype=kind).reshape(shape)

    def end(self) -> None:
        over = len(self.data) - self.at
        refuse(over == 0, self.name, f"{over} bytes too many")


def _text(raw: bytes, where: str, limit: int) -> str:
    """What stands before the zeros."""
    text = raw.rstrip(b"\0")
    refuse(b"\0" not in text and len(text) <= limit, where, "text without zeros behind it")
    try:
        found = text.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise BundleError(where, "text is not UTF-8") from None
    control = any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in found)
    refuse(not control, where, "control characters")
    return found


def _member(kinds: type[IntEnum], value: int, where: str, what: str) -> IntEnum:
    refuse(value in kinds.__members__.values(), where, f"there is no {what} {value}")
    return kinds(value)


# --- model and schema ---------------------------------------------------------------------------


def _check_shape(head: _Head) -> None:
    trees = head.kind != Kind.LINEAR
    outputs = (3, CLASSES_MAX) if head.task == Task.MULTICLASS else (1, 1)
    bounds = {
        "inputs": (1, INPUTS_MAX),
        "outputs": outputs,
        "trees": (1, TREES_MAX) if trees else (0, 0),
        "nodes": (1, NODES_MAX) if trees else (0, 0),
        "leaves": (1, head.nodes) if trees else (0, 0),
        "golden": (1, GOLDEN_MAX),
    }
    for what, (low, high) in bounds.items():
        n = getattr(head, what)
        refuse(low <= n <= high, "model", f"{n} {what}, {low} to {high} are allowed")
    refuse(head.version >= 1, "model", "version 0")
    binary = head.task == Task.BINARY
    refuse(
        0 <= head.threshold <= 1 if binary else head.threshold == 0,
        "model",
        f"a threshold of {head.threshold}",
    )


def _read_model(data: bytes) -> _Head:
    source = _Source(Section.MODEL, data)
    parts = _MODEL.unpack(source.raw(_MODEL.size))
    source.end()
    raw, version, kind, task, rows, zero, *counts, threshold, zeros = parts
    name = _text(raw, "model", NAME_BYTES_MAX)
    refuse(bool(_NAME.fullmatch(name)), "model", f"{name!r} is no name of a model")
    refuse(zero == 0 and not any(zeros), "model", "reserved bytes are not zero")
    head = _Head(
        name,
        version,
        _member(Kind, kind, "model", "kind"),
        _member(Task, task, "model", "task"),
        _member(Rows, rows, "model", "kind of rows"),
        *counts,
        threshold,
    )
    _check_shape(head)
    return head


def _check_sections(kind: Kind, found: set[Section]) -> None:
    wanted = _ALL | ({Section.LINEAR} if kind == Kind.LINEAR else _OF_TREES)
    for section in sorted(found ^ wanted):
        missing = section in wanted
        name = section.name.lower()
        raise BundleError(name, "is missing" if missing else f"is no section of kind {kind}")


def _check_window(e: expression.Expression, size_ns: int, slide_ns: int, where: str) -> None:
    refuse(size_ns == e.size_ns, where, f"a window of {size_ns} ns under {e}")
    fits = 0 < slide_ns <= size_ns and size_ns % slide_ns == 0 if size_ns else slide_ns == 0
    refuse(fits, where, f"a slide of {slide_ns} ns under {e}")


def _read_input(raw: bytes, index: int, kind: Kind) -> tuple[Input, int]:
    where = f"schema, input {index}"
    name, size_ns, slide_ns, imputed, missing, bins, zero = _INPUT.unpack(raw)
    text = _text(name, where, expression.EXPRESSION_BYTES_MAX)
    try:
        parsed = expression.parse(text)
    except expression.ExpressionError as e:
        raise BundleError(where, str(e)) from None
    refuse(str(parsed) == text, where, f"{text!r} is written {parsed}")
    _check_window(parsed, size_ns, slide_ns, where)
    how = _member(Missing, missing, where, "way to treat missing values")
    refuse(zero == 0, where, "reserved bytes are not zero")
    refuse(math.isfinite(imputed), where, "the imputed value is not finite")
    refuse(how == Missing.IMPUTED or raw[112:116] == bytes(4), where, "a value that none imputes")
    refuse(how != Missing.BRANCH or kind != Kind.LINEAR, where, "a branch in a linear model")
    refuse(bins <= (0 if kind == Kind.LINEAR else BINS_MAX), where, f"{bins} bins")
    return Input(text, size_ns, slide_ns, how, imputed), bins


def _check_of_windows(inputs: tuple[Input, ...]) -> None:
    """Rows are closed windows: all inputs are of one window, or of time."""
    calls = [expression.parse(i.expression).call for i in inputs]
    windows = {(i.size_ns, i.slide_ns) for i in inputs if i.size_ns}
    allowed = (*expression.STATS, *expression.OF_TIME)
    for i, call in zip(inputs, calls, strict=True):
        refuse(call in allowed, "schema", f"{i.expression} of a closed window")
    refuse(len(windows) == 1, "schema", f"inputs of {len(windows)} windows, not of one")


def _read_schema(data: bytes, head: _Head) -> tuple[tuple[Input, ...], list[int]]:
    source = _Source(Section.SCHEMA, data)
    source.need(head.inputs * _INPUT.size)
    found = [_read_input(source.raw(_INPUT.size), i, head.kind) for i in range(head.inputs)]
    source.end()
    inputs = tuple(i for i, _ in found)
    refuse(len({i.expression for i in inputs}) == len(inputs), "schema", "two inputs are alike")
    if head.rows == Rows.WINDOWS:
        _check_of_windows(inputs)
    return inputs, [bins for _, bins in found]


# --- the model itself ---------------------------------------------------------------------------


def _read_bins(data: bytes, counts: list[int]) -> tuple[np.ndarray, ...]:
    source = _Source(Section.BINS, data)
    bins = tuple(source.array("<f4", n) for n in counts)
    source.end()
    for i, t in enumerate(bins):
        where = f"bins, input {i}"
        refuse(bool(np.isfinite(t).all()), where, "a threshold is not finite")
        refuse(bool((t[1:] > t[:-1]).all()), where, "thresholds do not rise")
    return bins


def _read_trees(parts: dict[Section, bytes], head: _Head) -> Trees:
    boosted = head.kind == Kind.BOOSTED
    source = _Source(Section.FOREST, parts[Section.FOREST])
    first = source.array("<u4", head.trees + 1)
    output = source.array("<u4", head.trees) if boosted else np.zeros(head.trees, "<u4")
    nodes = source.array(NODE, head.nodes)
    source.end()
    source = _Source(Section.LEAVES, parts[Section.LEAVES])
    leaf = source.array("<u4", head.nodes)
    origin = source.array("<u4", head.leaves)
    refuse(not any(source.raw(-source.at % 8)), "leaves", "padding is not zero")
    value = source.array("<f8", head.leaves, 1 if boosted else head.outputs)
    source.end()
    return Trees(first, output, nodes, leaf, origin, value)


def _read_linear(data: bytes, head: _Head) -> Linear:
    source = _Source(Section.LINEAR, data)
    found = Linear(
        source.array("<f8", head.outputs, head.inputs), source.array("<f8", head.outputs)
    )
    source.end()
    finite = np.isfinite(found.weight).all() and np.isfinite(found.bias).all()
    refuse(bool(finite), "linear", "a weight or a bias is not finite")
    return found


def _read_output(data: bytes, head: _Head) -> tuple[np.ndarray, str, tuple[str, ...]]:
    source = _Source(Section.OUTPUT, data)
    link, zeros, classes, raw = _OUTPUT.unpack(source.raw(_OUTPUT.size))
    wanted = {Task.REGRESSION: 0, Task.BINARY: 2, Task.MULTICLASS: head.outputs}[head.task]
    fits = link == link_of(head.kind, head.task)
    refuse(fits, "output", f"link {link} under this kind and task")
    refuse(not any(zeros), "output", "reserved bytes are not zero")
    refuse(classes == wanted, "output", f"{classes} classes, not {wanted}")
    unit = _text(raw, "output, unit", UNIT_BYTES_MAX)
    refuse(not unit or head.task == Task.REGRESSION, "output", "a unit of no regression")
    start = source.array("<f8", head.outputs)
    refuse(bool(np.isfinite(start).all()), "output", "a start is not finite")
    zero = start.tobytes() == bytes(start.nbytes)
    refuse(head.kind == Kind.BOOSTED or zero, "output", "a start that is not 0")
    source.need(classes * _LABEL_BYTES)
    labels = tuple(
        _text(source.raw(_LABEL_BYTES), f"output, class {i}", LABEL_BYTES_MAX)
        for i in range(classes)
    )
    source.end()
    refuse(all(labels), "output", "a class without a label")
    refuse(len(set(labels)) == classes, "output", "two labels are alike")
    return start, unit, labels


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _read_json(data: bytes, section: Section) -> dict:
    name = section.name.lower()
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_no_twins, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as e:
        raise BundleError(name, f"no JSON: {e}") from None
    refuse(isinstance(value, dict), name, "no JSON object")
    return value


def _read_golden(data: bytes, head: _Head) -> Golden:
    source = _Source(Section.GOLDEN, data)
    n = head.golden
    found = Golden(
        source.array("<f4", n, head.inputs),
        source.array("<u4", n, head.trees),
        source.array("<f8", n, head.outputs),
    )
    source.end()
    refuse(not np.isinf(found.input).any(), "golden", "an infinite input")
    return found


# --- whole bundles ------------------------------------------------------------------------------


def read(data: bytes) -> Bundle:
    """The bundle of a file's bytes; BundleError where the page or a golden row is violated."""
    parts = layout.unpack(data)
    refuse(Section.MODEL in parts, "model", "is missing")
    head = _read_model(parts[Section.MODEL])
    _check_sections(head.kind, set(parts))
    inputs, bin_counts = _read_schema(parts[Section.SCHEMA], head)
    bins: tuple[np.ndarray, ...] = ()
    trees = linear = None
    if head.kind == Kind.LINEAR:
        linear = _read_linear(parts[Section.LINEAR], head)
    else:
        bins = _read_bins(parts[Section.BINS], bin_counts)
        trees = _read_trees(parts, head)
        forest.check(trees, inputs, bins, head.outputs)
    start, unit, classes = _read_output(parts[Section.OUTPUT], head)
    bundle = Bundle(
        name=head.name,
        version=head.version,
        kind=head.kind,
        task=head.task,
        rows=head.rows,
        inputs=inputs,
        bins=bins,
        trees=trees,
        linear=linear,
        start=start,
        classes=classes,
        threshold=head.threshold,
        unit=unit,
        metrics=_read_json(parts[Section.METRICS], Section.METRICS),
        golden=_read_golden(parts[Section.GOLDEN], head),
        provenance=_read_json(parts[Section.PROVENANCE], Section.PROVENANCE),
    )
    check_golden(bundle)
    return bundle


def _bytes(values: np.ndarray, dtype: str) -> bytes:
    return np.ascontiguousarray(values, dtype=dtype).tobytes()


def _padded(text: str, size: int, where: str) -> bytes:
    raw = text.encode()
    refuse(b"\0" not in raw, where, f"{text!r} holds a zero")
    refuse(len(raw) < size, where, f"{text!r} is longer than {size - 1} bytes")
    return raw.ljust(size, b"\0")


def _model_bytes(b: Bundle) -> bytes:
    refuse(1 <= b.version < 1 << 32, "model", f"version {b.version}")
    counts = (len(b.inputs), b.outputs, b.tree_count, b.node_count, b.leaf_count)
    return _MODEL.pack(
        _padded(b.name, NAME_BYTES_MAX + 1, "model"),
        b.version,
        b.kind,
        b.task,
        b.rows,
        0,
        *counts,
        len(b.golden.input),
        b.threshold,
        b"",
    )


def _schema_bytes(b: Bundle) -> bytes:
    out = b""
    for i, x in enumerate(b.inputs):
        text = _padded(x.expression, expression.EXPRESSION_BYTES_MAX + 1, f"schema, input {i}")
        bins = len(b.bins[i]) if b.trees else 0
        out += _INPUT.pack(text, x.size_ns, x.slide_ns, x.imputed, x.missing, bins, 0)
    return out


def _tree_bytes(b: Bundle, t: Trees) -> dict[Section, bytes]:
    output = _bytes(t.output, "<u4") if b.kind == Kind.BOOSTED else b""
    numbers = _bytes(t.leaf, "<u4") + _bytes(t.origin, "<u4")
    bins = b"".join(_bytes(x, "<f4") for x in b.bins)
    # A section has at least one byte; a model all of whose trees are one leaf has no threshold.
    refuse(bool(bins), "bins", "no tree asks for any input")
    return {
        Section.BINS: bins,
        Section.FOREST: _bytes(t.first, "<u4") + output + t.nodes.tobytes(),
        Section.LEAVES: numbers + bytes(-len(numbers) % 8) + _bytes(t.value, "<f8"),
    }


def _output_bytes(b: Bundle) -> bytes:
    unit = _padded(b.unit, UNIT_BYTES_MAX + 1, "output, unit")
    labels = b"".join(_padded(c, _LABEL_BYTES, "output, class") for c in b.classes)
    head = _OUTPUT.pack(b.link, b"", len(b.classes), unit)
    return head + _bytes(b.start, "<f8") + labels


def _json_bytes(value: dict, section: Section) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as e:
        raise BundleError(section.name.lower(), f"no JSON: {e}") from None
    return text.encode()


def write(b: Bundle) -> bytes:
    """The bytes of a file, read again before they go out: none leaves that is refused later."""
    sections = {
        Section.MODEL: _model_bytes(b),
        Section.SCHEMA: _schema_bytes(b),
        Section.OUTPUT: _output_bytes(b),
        Section.METRICS: _json_bytes(b.metrics, Section.METRICS),
        Section.GOLDEN: _bytes(b.golden.input, "<f4")
        + _bytes(b.golden.leaf, "<u4")
        + _bytes(b.golden.out, "<f8"),
        Section.PROVENANCE: _json_bytes(b.provenance, Section.PROVENANCE),
    }
    if b.trees:
        sections |= _tree_bytes(b, b.trees)
    elif b.linear:
        sections[Section.LINEAR] = _bytes(b.linear.weight, "<f8") + _bytes(b.linear.bias, "<f8")
    data = layout.pack(sections)
    read(data)
    return data
