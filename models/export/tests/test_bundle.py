"""
Bundles as bytes. What breaks if they fail: a file that was damaged, cut or forged is scored with,
or one that is good is refused.
"""

import dataclasses
import struct

import numpy as np
import pytest
from penstock_model import layout, read, write
from penstock_model.layout import Section
from penstock_model.model import Bundle, BundleError, Golden, Input, Linear, Rows
from penstock_model.score import score
from sample_bundle import (
    ALL,
    ENTRY,
    HEADER,
    MINUTE,
    forest,
    lie,
    linear,
    places,
    rehash,
    rehash_header,
    rows,
    with_golden,
)

INF, NAN = float("inf"), float("nan")


def bytes_of(name: str) -> bytes:
    return write(ALL[name]())


def equal(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray):
        return a.tobytes() == np.asarray(b).tobytes() and a.shape == b.shape
    if dataclasses.is_dataclass(a):
        return all(equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


@pytest.mark.parametrize("name", ALL)
def test_what_is_read_is_what_was_written(name: str) -> None:
    made = ALL[name]()
    data = write(made)
    assert equal(read(data), made)
    assert write(read(data)) == data, "the same bytes again"
    assert len(data) % 64 == 0


@pytest.mark.parametrize("name", ALL)
def test_any_altered_byte_is_refused(name: str) -> None:
    data = bytearray(bytes_of(name))
    for at in range(len(data)):
        data[at] ^= 0x41
        with pytest.raises(BundleError):
            read(bytes(data))
        data[at] ^= 0x41
    read(bytes(data))


def test_any_other_length_is_refused() -> None:
    data = bytes_of("forest")
    for n in range(len(data)):
        with pytest.raises(BundleError):
            read(data[:n])
    for n in (1, 8, 64, 4096):
        with pytest.raises(BundleError):
            read(data + bytes(n))


HEADER_LIES = [
    (0, "8s", b"PENSTKMC", "no model bundle"),
    (8, "I", 0, "format 0"),
    (8, "I", 2, "format 2"),
    (12, "I", 0, "0 sections"),
    (12, "I", 33, "33 sections"),
    (12, "I", 0xFFFFFFFF, "sections"),
    (16, "Q", 64, "bytes, not 64"),
    (16, "Q", 1 << 63, "bytes, not"),
    (56, "Q", 1, "reserved"),
]


@pytest.mark.parametrize(("at", "kind", "value", "part"), HEADER_LIES)
def test_lies_of_the_header(at: int, kind: str, value: object, part: str) -> None:
    data = bytearray(bytes_of("forest"))
    struct.pack_into("<" + kind, data, at, value)
    if 1 <= struct.unpack_from("<I", data, 12)[0] <= 32:
        rehash_header(data)
    with pytest.raises(BundleError, match=part):
        read(bytes(data))


TABLE_LIES = [
    (0, 0, "I", 0, "type 0"),
    (0, 0, "I", 11, "type 11"),
    (1, 0, "I", 1, "do not rise"),
    (0, 0, "I", 2, "do not rise"),
    (2, 4, "I", 1, "reserved"),
    (2, 56, "Q", 1, "reserved"),
    (0, 8, "Q", 0, "begins at 0"),
    (1, 8, "Q", HEADER, "begins at"),
    (1, 8, "Q", 1 << 62, "begins at"),
    (1, 16, "Q", 0, "do not lie"),
    (1, 16, "Q", 1 << 63, "do not lie"),
    (0, 16, "Q", 64, "begins at|SHA"),
    (8, 16, "Q", 1 << 20, "do not lie"),
]


@pytest.mark.parametrize(("entry", "at", "kind", "value", "part"), TABLE_LIES)
def test_lies_of_the_table(entry: int, at: int, kind: str, value: int, part: str) -> None:
    data = bytearray(bytes_of("forest"))
    struct.pack_into("<" + kind, data, HEADER + ENTRY * entry + at, value)
    with pytest.raises(BundleError, match=part):
        read(bytes(rehash_header(data)))


def test_padding_is_zero() -> None:
    data = bytes_of("forest")
    for _, offset, size in places(data).values():
        end = offset + size
        if end % 64:
            spoiled = bytearray(data)
            spoiled[-(-end // 64) * 64 - 1] = 1
            with pytest.raises(BundleError, match="padding is not zero"):
                read(bytes(spoiled))


def test_file_ends_with_its_last_section() -> None:
    """Also where the header says otherwise and its hash is right."""
    data = bytes_of("forest")
    for other, part in ((data + bytes(64), "behind the last"), (data[:-1], "cut short")):
        spoiled = bytearray(other)
        struct.pack_into("<Q", spoiled, 16, len(other))
        with pytest.raises(BundleError, match=part):
            read(bytes(rehash_header(spoiled)))
    for n in (64, 127, 128):
        spoiled = bytearray(data[:n])
        struct.pack_into("<Q", spoiled, 16, n)
        with pytest.raises(BundleError, match="table is cut short"):
            read(bytes(rehash_header(spoiled)))


def test_file_has_at_most_64_mib() -> None:
    parts = layout.unpack(bytes_of("forest"))
    with pytest.raises(BundleError, match="at most 67108864"):
        layout.pack({**parts, Section.METRICS: bytes(64 << 20)})
    with pytest.raises(BundleError, match="more than 67108864"):
        read(bytes_of("forest").ljust((64 << 20) + 64, b"\0"))


def test_a_section_more_or_less_is_refused() -> None:
    parts = layout.unpack(bytes_of("forest"))
    for section in parts:
        with pytest.raises(BundleError, match="is missing"):
            read(layout.pack({s: c for s, c in parts.items() if s != section}))
    with pytest.raises(BundleError, match="linear: is no section"):
        read(layout.pack({**parts, Section.LINEAR: bytes(64)}))
    parts = layout.unpack(bytes_of("linear"))
    with pytest.raises(BundleError, match="bins: is no section"):
        read(layout.pack({**parts, Section.BINS: bytes(4)}))


def test_every_section_has_its_size() -> None:
    for name in ALL:
        parts = layout.unpack(bytes_of(name))
        for section, content in parts.items():
            if section in (Section.METRICS, Section.PROVENANCE):
                continue
            for other in (content[:-1], content[:-8], content + b"\0", content + bytes(8)):
                if other:
                    with pytest.raises(BundleError):
                        read(layout.pack({**parts, section: other}))


# Section, offset in it, layout, value, what the refusal says.
FOREST_LIES = [
    (Section.MODEL, 0, "32s", b"", "no name"),
    (Section.MODEL, 0, "32s", b"1st", "no name"),
    (Section.MODEL, 0, "32s", b"a b", "no name"),
    (Section.MODEL, 0, "32s", b"a" * 32, "without zeros"),
    (Section.MODEL, 0, "32s", b"a\0b", "without zeros"),
    (Section.MODEL, 32, "I", 0, "version 0"),
    (Section.MODEL, 36, "B", 0, "no kind 0"),
    (Section.MODEL, 36, "B", 4, "no kind 4"),
    (Section.MODEL, 36, "B", 3, "are allowed"),
    (Section.MODEL, 36, "B", 2, "bytes"),
    (Section.MODEL, 37, "B", 0, "no task"),
    (Section.MODEL, 37, "B", 4, "no task"),
    (Section.MODEL, 37, "B", 1, "threshold"),
    (Section.MODEL, 37, "B", 3, "outputs"),
    (Section.MODEL, 38, "B", 0, "kind of rows"),
    (Section.MODEL, 38, "B", 2, "closed window"),
    (Section.MODEL, 39, "B", 1, "reserved"),
    (Section.MODEL, 40, "I", 0, "inputs"),
    (Section.MODEL, 40, "I", 2, "bytes too many"),
    (Section.MODEL, 40, "I", 257, "inputs"),
    (Section.MODEL, 44, "I", 0, "outputs"),
    (Section.MODEL, 44, "I", 2, "outputs"),
    (Section.MODEL, 48, "I", 0, "trees"),
    (Section.MODEL, 48, "I", 4097, "trees"),
    (Section.MODEL, 52, "I", 0, "nodes"),
    (Section.MODEL, 52, "I", 9, "bytes too many"),
    (Section.MODEL, 52, "I", 10**9, "1000000000 nodes"),
    (Section.MODEL, 56, "I", 0, "leaves"),
    (Section.MODEL, 56, "I", 11, "leaves"),
    (Section.MODEL, 56, "I", 5, "leaves"),
    (Section.MODEL, 60, "I", 0, "golden"),
    (Section.MODEL, 60, "I", 4097, "golden"),
    (Section.MODEL, 64, "d", NAN, "threshold"),
    (Section.MODEL, 64, "d", -0.5, "threshold"),
    (Section.MODEL, 64, "d", 1.5, "threshold"),
    (Section.MODEL, 127, "B", 1, "reserved"),
    (Section.SCHEMA, 0, "96s", b"", "no field"),
    (Section.SCHEMA, 0, "96s", b"mean(temperature, 5m)", "written mean"),
    (Section.SCHEMA, 0, "96s", b"mean(temperature,300s)", "written mean"),
    (Section.SCHEMA, 0, "96s", b"mode(temperature,5m)", "mode"),
    (Section.SCHEMA, 0, "96s", b"mean(temperature,5m)", "a window of 0 ns"),
    (Section.SCHEMA, 0, "96s", b"\xff", "UTF-8"),
    (Section.SCHEMA, 0, "96s", b"a\x07", "control"),
    (Section.SCHEMA, 0, "96s", b"x" * 96, "without zeros"),
    (Section.SCHEMA, 96, "q", MINUTE, "a window of"),
    (Section.SCHEMA, 104, "q", MINUTE, "a slide of"),
    (Section.SCHEMA, 128 + 96, "q", 6 * MINUTE, "a window of"),
    (Section.SCHEMA, 128 + 96, "q", -1, "a window of"),
    (Section.SCHEMA, 128 + 104, "q", 0, "a slide of"),
    (Section.SCHEMA, 128 + 104, "q", -MINUTE, "a slide of"),
    (Section.SCHEMA, 128 + 104, "q", 2 * MINUTE, "a slide of"),
    (Section.SCHEMA, 128 + 104, "q", 10 * MINUTE, "a slide of"),
    (Section.SCHEMA, 112, "f", 1.0, "none imputes"),
    (Section.SCHEMA, 112, "f", -0.0, "none imputes"),
    (Section.SCHEMA, 128 + 112, "f", NAN, "not finite"),
    (Section.SCHEMA, 128 + 112, "f", INF, "not finite"),
    (Section.SCHEMA, 116, "I", 0, "missing values"),
    (Section.SCHEMA, 116, "I", 4, "missing values"),
    (Section.SCHEMA, 256 + 116, "I", 1, "side"),
    (Section.SCHEMA, 120, "I", 1, "bytes too many"),
    (Section.SCHEMA, 120, "I", 3, "too few"),
    (Section.SCHEMA, 120, "I", 65535, "bins"),
    (Section.SCHEMA, 124, "I", 1, "reserved"),
    (Section.SCHEMA, 256, "96s", b"temperature", "alike"),
    (Section.BINS, 0, "f", 2.0, "do not rise"),
    (Section.BINS, 0, "f", 3.0, "do not rise"),
    (Section.BINS, 0, "f", NAN, "not finite"),
    (Section.BINS, 4, "f", INF, "not finite"),
    (Section.BINS, 0, "f", -INF, "not finite"),
    (Section.BINS, 8, "f", 25.0, "golden"),
    (Section.FOREST, 0, "I", 1, "begin at 0"),
    (Section.FOREST, 4, "I", 0, "do not rise"),
    (Section.FOREST, 4, "I", 11, "do not rise"),
    (Section.FOREST, 4, "I", 0xFFFFFFFF, "do not rise"),
    (Section.FOREST, 8, "I", 9, "end with the nodes"),
    (Section.FOREST, 8, "I", 0xFFFFFFFF, "end with the nodes"),
    # Nodes begin at 12: tree 0 has seven, tree 1 three.
    (Section.FOREST, 12, "H", 3, "no input"),
    (Section.FOREST, 12, "H", 0x7FFF, "no input"),
    (Section.FOREST, 12, "H", 0x8000, "side"),
    (Section.FOREST, 12, "H", 1, "bins"),
    (Section.FOREST, 14, "H", 2, "beyond the bins"),
    (Section.FOREST, 14, "H", 65534, "beyond the bins"),
    (Section.FOREST, 14, "H", 65535, "leaf"),
    (Section.FOREST, 14, "H", 1, "no node uses"),
    (Section.FOREST, 16, "I", 0, "not greater"),
    (Section.FOREST, 16, "I", 2, "one parent"),
    (Section.FOREST, 16, "I", 6, "outside"),
    (Section.FOREST, 16, "I", 7, "outside"),
    (Section.FOREST, 16, "I", 0xFFFFFFFF, "outside"),
    (Section.FOREST, 12 + 16 + 4, "I", 1, "not greater"),
    (Section.FOREST, 12 + 16 + 4, "I", 2, "not greater"),
    (Section.FOREST, 12 + 16 + 4, "I", 4, "one parent"),
    (Section.FOREST, 12 + 16 + 4, "I", 5, "one parent"),
    (Section.FOREST, 12 + 8, "H", 1, "a leaf with"),
    (Section.FOREST, 12 + 8, "H", 0x8000, "a leaf with"),
    (Section.FOREST, 12 + 8 + 2, "H", 0, "leaves|not greater"),
    (Section.FOREST, 12 + 8 + 4, "I", 0, "a leaf with"),
    (Section.FOREST, 12 + 8 + 4, "I", 3, "a leaf with"),
    (Section.FOREST, 12 + 56, "H", 2, "golden"),  # a missing value on the other side
    (Section.LEAVES, 0, "I", 0, "numbered"),
    (Section.LEAVES, 4, "I", 1, "numbered"),
    (Section.LEAVES, 4, "I", 0xFFFFFFFF, "numbered"),
    (Section.LEAVES, 64, "d", NAN, "not finite"),
    (Section.LEAVES, 64, "d", INF, "not finite"),
    (Section.LEAVES, 64, "d", 0.2, "golden"),
    (Section.OUTPUT, 0, "B", 1, "link"),
    (Section.OUTPUT, 0, "B", 3, "link"),
    (Section.OUTPUT, 1, "B", 1, "reserved"),
    (Section.OUTPUT, 3, "B", 1, "reserved"),
    (Section.OUTPUT, 4, "I", 0, "classes"),
    (Section.OUTPUT, 4, "I", 3, "classes"),
    (Section.OUTPUT, 8, "16s", b"K", "unit"),
    (Section.OUTPUT, 24, "d", 1.0, "start"),
    (Section.OUTPUT, 24, "d", NAN, "start"),
    (Section.OUTPUT, 32, "32s", b"", "without a label"),
    (Section.OUTPUT, 32, "32s", "schlecht ü".encode(), "alike"),
    (Section.OUTPUT, 32, "32s", b"\xc3", "UTF-8"),
    (Section.OUTPUT, 32, "32s", b"\x01", "control"),
    (Section.OUTPUT, 32, "32s", b"x" * 32, "without zeros"),
    (Section.METRICS, 0, "B", ord("["), "JSON"),
    (Section.METRICS, 1, "B", 0xFF, "JSON"),
    (Section.PROVENANCE, 0, "B", ord(" "), "JSON"),
    (Section.GOLDEN, 0, "f", INF, "infinite"),
    (Section.GOLDEN, 0, "f", 100.0, "golden"),
    (Section.GOLDEN, 108, "I", 6, "row 0 has another leaf"),
    (Section.GOLDEN, 108 + 72, "d", 0.123, "row 0 has another output"),
    (Section.GOLDEN, 108 + 72, "d", NAN, "row 0 has another output"),
]


@pytest.mark.parametrize(("section", "at", "kind", "value", "part"), FOREST_LIES)
def test_lies_with_good_hashes(
    section: Section, at: int, kind: str, value: object, part: str
) -> None:
    with pytest.raises(BundleError, match=part) as found:
        read(lie(bytes_of("forest"), section, at, kind, value))
    assert found.value.section and found.value.reason


OTHER_LIES = [
    ("boosted", Section.FOREST, 12, "I", 3, "adds to no output"),
    ("boosted", Section.FOREST, 12, "I", 1, "golden"),
    ("boosted", Section.OUTPUT, 24, "d", NAN, "start"),
    ("boosted", Section.OUTPUT, 24, "d", 0.5, "golden"),
    ("boosted", Section.OUTPUT, 0, "B", 1, "link"),
    ("boosted_value", Section.OUTPUT, 8, "16s", b"x" * 16, "without zeros"),
    ("linear", Section.LINEAR, 0, "d", NAN, "not finite"),
    ("linear", Section.LINEAR, 24, "d", INF, "not finite"),
    ("linear", Section.LINEAR, 24, "d", 0.126, "golden"),
    ("linear", Section.SCHEMA, 120, "I", 1, "bins"),
    ("linear", Section.SCHEMA, 116, "I", 3, "branch in a linear"),
    ("linear", Section.MODEL, 48, "I", 1, "trees"),
    ("linear", Section.MODEL, 52, "I", 1, "nodes"),
    ("linear", Section.MODEL, 56, "I", 1, "leaves"),
]


@pytest.mark.parametrize(("name", "section", "at", "kind", "value", "part"), OTHER_LIES)
def test_lies_of_other_kinds(
    name: str, section: Section, at: int, kind: str, value: object, part: str
) -> None:
    with pytest.raises(BundleError, match=part):
        read(lie(bytes_of(name), section, at, kind, value))


def test_json_is_one_object_of_utf8() -> None:
    parts = layout.unpack(bytes_of("forest"))
    bad = [b"1", b"[]", b"null", b"{", b'{"a":1,"a":1}', b'{"a":NaN}', b'{"a":1} x', b"[" * 100000]
    for content in (*bad, b'{"a":"\xff"}', b'\xef\xbb\xbf{"a":1}'):
        with pytest.raises(BundleError, match="metrics: no JSON"):
            read(layout.pack({**parts, Section.METRICS: content}))
    assert read(layout.pack({**parts, Section.METRICS: b"{}"})).metrics == {}


def chain(depth: int) -> Bundle:
    """One tree, each right child a leaf but the last."""
    b = forest()
    nodes = np.zeros(2 * depth + 1, dtype=b.trees.nodes.dtype)
    for i in range(2 * depth + 1):
        branch = i == 0 or (i % 2 == 1 and i < 2 * depth - 1)
        nodes[i] = (0, 0, i + 1 + (i > 0)) if branch else (0, 65535, i)
    leaf = nodes["rank"] == 65535
    numbers = np.full(len(nodes), 0xFFFFFFFF, dtype=np.uint32)
    numbers[leaf] = np.arange(leaf.sum())
    trees = dataclasses.replace(
        b.trees,
        first=np.array([0, len(nodes)], dtype=np.uint32),
        output=np.zeros(1, np.uint32),
        nodes=nodes,
        leaf=numbers,
        origin=np.arange(leaf.sum(), dtype=np.uint32),
        value=np.linspace(0, 1, leaf.sum()).reshape(-1, 1),
    )
    bins = (np.array([1], np.float32), np.array([], np.float32), np.array([], np.float32))
    return with_golden(dataclasses.replace(b, trees=trees, bins=bins))


def test_a_path_has_at_most_64_branches() -> None:
    assert read(write(chain(64))).node_count == 129
    with pytest.raises(BundleError, match="more than 64"):
        write(chain(65))


def of_windows(*inputs: Input) -> Bundle:
    n = len(inputs)
    b = dataclasses.replace(
        linear(),
        rows=Rows.WINDOWS,
        inputs=inputs,
        linear=Linear(np.ones((1, n)), np.zeros(1)),
        golden=Golden(rows()[:, :n], np.empty((0, 0)), np.empty((0, 0))),
    )
    return with_golden(b)


def test_inputs_of_closed_windows_are_of_one_window() -> None:
    mean, high = (Input(f"{s}(t,5m)", 5 * MINUTE, MINUTE) for s in ("mean", "max"))
    good = of_windows(mean, high, Input("hour()"))
    assert read(write(good)).rows == Rows.WINDOWS
    other = Input("min(t,5m)", 5 * MINUTE, 5 * MINUTE)
    for bad in (other, Input("t"), Input("zscore(t,5m)", 5 * MINUTE, MINUTE), Input("delta(t)")):
        with pytest.raises(BundleError, match="schema"):
            write(of_windows(mean, high, bad))
    with pytest.raises(BundleError, match="0 windows"):
        write(of_windows(Input("hour()"), Input("weekday()")))


def test_leaves_are_as_many_as_declared() -> None:
    b = forest()
    for n in (5, 7):
        trees = dataclasses.replace(b.trees, origin=np.zeros(n), value=np.zeros((n, 1)))
        with pytest.raises(BundleError, match=f"{n} declared, 6 there"):
            write(dataclasses.replace(b, trees=trees))


def test_model_that_asks_for_nothing_is_refused() -> None:
    """A section has at least a byte, so there is no bundle of trees without a threshold."""
    b = chain(1)
    nodes = np.array([(0, 65535, 0)], dtype=b.trees.nodes.dtype)
    trees = dataclasses.replace(
        b.trees,
        first=np.array([0, 1], np.uint32),
        nodes=nodes,
        leaf=np.zeros(1, np.uint32),
        origin=np.zeros(1, np.uint32),
        value=np.ones((1, 1)),
    )
    empty = np.array([], np.float32)
    with pytest.raises(BundleError, match="no tree asks"):
        write(with_golden(dataclasses.replace(b, trees=trees, bins=(empty,) * 3)))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x" * 32},
        {"name": "ä"},
        {"version": 0},
        {"version": 1 << 32},
        {"threshold": 2.0},
        {"classes": ("a",)},
        {"classes": ("a", "a")},
        {"classes": ("a", "b" * 32)},
        {"classes": ("a", "b\0")},
        {"metrics": {"a": NAN}},
        {"metrics": {"a": object()}},
        {"unit": "x" * 16},
    ],
)
def test_what_could_not_be_read_is_not_written(change: dict[str, object]) -> None:
    with pytest.raises(BundleError):
        write(dataclasses.replace(forest(), **change))


@pytest.mark.parametrize("name", ALL)
def test_spoiled_bytes_raise_nothing_else(name: str) -> None:
    """Only BundleError may come out, or a bundle that passed every check and its golden rows."""
    data, rng = bytes_of(name), np.random.default_rng(1)
    spans = [(o, n) for _, o, n in places(data).values()]
    good = 0
    for _ in range(1500):
        spoiled = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            offset, size = spans[int(rng.integers(len(spans)))]
            spoiled[offset + int(rng.integers(size))] = int(rng.integers(256))
        try:
            found = read(bytes(rehash(spoiled)))
        except BundleError:
            continue
        good += 1
        score(found, np.zeros((3, len(found.inputs)), np.float32))
    assert good < 1000


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("forest", 0.0, 1e-16),
        ("forest_of_classes", 0.0, 1e-16),
        ("boosted_value", 0.0, 1e-15),
        ("boosted", 9e-13, 2e-12),
        ("linear", 9e-10, 2e-9),
    ],
)
def test_golden_outputs_are_exact_to_what_the_page_says(name: str, good: float, bad: float) -> None:
    data, b = bytes_of(name), ALL[name]()
    row = int(np.flatnonzero(~np.isnan(b.golden.out[:, 0]))[0])
    at = b.golden.input.nbytes + b.golden.leaf.nbytes + 8 * b.outputs * row
    value = float(b.golden.out[row, 0])
    assert value + bad != value
    for off in (good, -good):
        read(lie(data, Section.GOLDEN, at, "d", value + off))
    for off in (bad, -bad):
        with pytest.raises(BundleError, match=f"row {row} has another output"):
            read(lie(data, Section.GOLDEN, at, "d", value + off))


def test_scores_by_hand() -> None:
    """The order of everything, worked out on paper for one row of each kind of missing value."""
    x = np.array([[1, 0, 0], [1.5, 0.5, -1], [2.5, INF, NAN], [NAN, 0, 0]], np.float32)
    got = score(forest(), x)
    np.testing.assert_array_equal(got.leaf[:3], [[1, 2], [3, 1], [6, 1]])
    np.testing.assert_array_equal(got.out[:3, 0], [(0.1 + 0.75) / 2, 0.125, 0.5])
    np.testing.assert_array_equal(got.label, [0, 0, 0, -1])
    assert np.isnan(got.out[3, 0]) and (got.leaf[3] == 0xFFFFFFFF).all()
