"""The package against segment-v1.seg and segment-v1.ids, which the C tests make byte for byte."""

import dataclasses
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import penstock
import pytest
import xxhash
from penstock.journal import Spot, parse_block, parse_segment
from penstock.record import record_id
from penstock.schema import FormatError, Model, NewerFormatError, parse_schema

FIXTURES = Path(__file__).resolve().parents[3] / "tests" / "fixtures"
SEGMENT = FIXTURES / "segment-v1.seg"
PAGE = 4096
START_NS = 1_700_000_000_000_000_000
SECOND = 10**9
BLOCK_PAGES = [2, 3, 4, 6]
FOOTER_PAGE = 7
GROUP = 8  # records in each of the 14 rounds


@pytest.fixture
def image() -> bytearray:
    return bytearray(SEGMENT.read_bytes())


@pytest.fixture(scope="module")
def segment() -> penstock.Segment:
    return penstock.read_segment(SEGMENT)


@pytest.fixture(scope="module")
def records(segment: penstock.Segment) -> penstock.Records:
    return segment.records()


def unsealed(image: bytearray) -> bytearray:
    """Without its footer, zeros behind, as a segment in use is."""
    image[FOOTER_PAGE * PAGE :] = bytes(4 * PAGE)
    return image


def rounds(seg: penstock.Segment) -> list[int]:
    light = seg.records().readings["light"]
    return [int(v) - 400 for v in light["values"][:, 0]]


def test_header_and_schema_are_told(segment: penstock.Segment) -> None:
    assert segment.head.serial == 42
    assert segment.head.appliance == 0x1122334455667788
    assert segment.sealed and not segment.damage
    climate, light = segment.schema.streams
    assert [f.name for f in climate.fields] == ["temperature", "humidity", "voltage"]
    assert climate.fields[0].unit == "°C" and climate.fields[2].max == float("inf")
    assert [w.name for w in climate.windows] == ["30s/10s", "5m/1m"]
    assert climate.rules[1].kind == "above" and climate.rules[2].severity == "critical"
    assert climate.models == (Model("anomaly", -1, ("ordinary", "odd")),)
    assert climate.derived == ("mean(temperature,30s)", "delta(voltage)")
    assert light.number == 7 and light.time_key == ""


def test_ids_equal_those_of_c(segment: penstock.Segment) -> None:
    ids = [
        record_id(raw, (b.head.appliance, b.head.epoch, b.head.worker, b.head.sequence))
        for b in segment.blocks
        for raw in b.records(segment.schema)
    ]
    assert ids == (FIXTURES / "segment-v1.ids").read_text().split()


def test_readings_are_columns(records: penstock.Records) -> None:
    t = records.readings["climate"]
    assert t["values"].dtype == np.float32 and t["values"].shape == (14, 3)
    np.testing.assert_array_equal(t["values"][:, 0], np.arange(14) + 20.5)
    assert np.isnan(t["values"][:, 1]).all()
    np.testing.assert_array_equal(t["arrival_ns"], START_NS + np.arange(14) * SECOND)
    np.testing.assert_array_equal(t["arrival_ns"] - t["event_ns"], np.full(14, SECOND // 4))
    np.testing.assert_array_equal(t["seq"], 100 + np.arange(14))
    assert set(t["sensor"]) == {"pump-7"} and set(t["boot"]) == {0xB007B007}
    assert set(t["flags"]) == {5} and set(t["seen"]) == {7} and set(t["group"]) == {1}
    assert set(t["tag.lot"]) == {"L42"} and set(t["tag.line"]) == {"north"}
    assert set(t["score.anomaly.value"]) == {0.25} and set(t["score.anomaly.version"]) == {4}
    assert set(t["input.mean(temperature,30s)"]) == {21.25}
    assert np.isnan(t["input.delta(voltage)"]).all()
    np.testing.assert_array_equal(t["worker"], [0, 0, 1] + [0] * 10 + [1])
    np.testing.assert_array_equal(t["sequence"], [1, 1, 1] + [2] * 10 + [2])
    light = records.readings["light"]
    assert set(light["sensor"]) == {"Öl-3"} and set(light["index"]) == {3}
    assert len(set(t["id"]) | set(light["id"])) == 28


def test_windows_are_columns(records: penstock.Records) -> None:
    t = records.windows["climate"]["30s/10s"]
    assert t["stat.mean"].shape == (14, 3) and t["stat.count"].dtype == np.uint32
    np.testing.assert_array_equal(t["stat.count"][0], [30, 29, 28])
    np.testing.assert_array_equal(t["stat.last"][2], [52, 152, 252])
    np.testing.assert_array_equal(t["end_ns"] - t["start_ns"], np.full(14, 30 * SECOND))
    assert set(t["reason"]) == {"watermark"} and set(t["readings"]) == {30}
    assert np.isnan(t["score.anomaly.value"]).all()
    assert len(records.windows["climate"]["5m/1m"]["id"]) == 0
    light = records.windows["light"]["1m"]
    assert "stat.mean" not in light and set(light["reason"]) == {"idle"}
    np.testing.assert_array_equal(light["stat.last"][:, 0], 10 + np.arange(14))


def test_alerts_gaps_and_marks_are_columns(records: penstock.Records) -> None:
    alerts = records.alerts
    np.testing.assert_array_equal(alerts["raised"], np.arange(14) % 2 == 0)
    assert set(alerts["rule"]) == {"hot"} and set(alerts["severity"]) == {"warning"}
    assert alerts["cause"][1] == "22222222222222221111111111111112"
    np.testing.assert_array_equal(records.gaps["count"], 12 + np.arange(14))
    assert set(records.gaps["reason"]) == {"crash"} and set(records.gaps["stream"]) == {""}
    marks = records.marks
    assert list(marks["what"][:2]) == ["start", "retired"]
    assert list(marks["sensor"][:2]) == ["", "pump-7"]
    np.testing.assert_array_equal(marks["counters"][0], [1000, 2000, 3000])
    np.testing.assert_array_equal(marks["counters"][1], [0, 0, 0])


def test_packed_message_is_a_block(image: bytearray, segment: penstock.Segment) -> None:
    block = parse_block(bytes(image), 3 * PAGE)
    message = block.data
    records = penstock.read_packed(message, segment.schema)
    assert list(records.readings["light"]["values"][:, 0]) == [402.0]
    with pytest.raises(FormatError):
        penstock.read_packed(message + bytes(8), segment.schema)
    with pytest.raises(FormatError):
        penstock.read_packed(message[:-8], segment.schema)
    with pytest.raises(FormatError):
        penstock.read_packed(message, penstock.Schema(segment.schema.streams, 1))


def test_without_footer_blocks_are_found(image: bytearray) -> None:
    seg = parse_segment(bytes(unsealed(image)))
    assert not seg.sealed and not seg.damage
    assert rounds(seg) == list(range(14))


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("hit", range(4))
def test_damage_costs_its_block_alone(image: bytearray, sealed: bool, hit: int) -> None:
    per_block = [[0, 1], [2], list(range(3, 13)), [13]]
    if not sealed:
        unsealed(image)
    image[BLOCK_PAGES[hit] * PAGE + 200] ^= 1
    seg = parse_segment(bytes(image))
    assert rounds(seg) == [r for i, b in enumerate(per_block) if i != hit for r in b]
    # an unsealed segment cannot know that there was one behind the last
    assert len(seg.damage) == (0 if not sealed and hit == 3 else 1)
    assert all(d.offset == BLOCK_PAGES[hit] * PAGE for d in seg.damage)


def test_damaged_footer_is_done_without(image: bytearray) -> None:
    image[FOOTER_PAGE * PAGE + 70] ^= 1
    seg = parse_segment(bytes(image))
    assert not seg.sealed and rounds(seg) == list(range(14))


def test_second_header_copy_serves(image: bytearray) -> None:
    image[200] ^= 1
    assert rounds(parse_segment(bytes(image))) == list(range(14))
    image[PAGE + 200] ^= 1
    with pytest.raises(FormatError):
        parse_segment(bytes(image))


def test_newer_segment_is_refused(image: bytearray) -> None:
    image[4] = 2
    with pytest.raises(NewerFormatError):
        parse_segment(bytes(image))


def test_block_of_another_place_is_refused(image: bytearray) -> None:
    """Recycled segments hold old blocks whose every byte is good."""
    unsealed(image)
    image[5 * PAGE : 6 * PAGE] = image[3 * PAGE : 4 * PAGE]
    image[7 * PAGE : 8 * PAGE] = image[3 * PAGE : 4 * PAGE]
    assert rounds(parse_segment(bytes(image))) == [0, 1, 2, 13]


@pytest.mark.parametrize(
    ("at", "layout", "value"),
    [
        (0, "I", 0),
        (4, "H", 2),
        (4, "H", 0),
        (6, "H", 1),
        (24, "Q", 0),
        (36, "I", 128),
        (36, "I", 1 << 31),
        (40, "I", 0),
        (40, "I", 1000),
        (44, "I", 9),
        (96, "Q", 43),
        (104, "Q", PAGE),
        (112, "Q", 1),
        (120, "Q", 1),
    ],
)
def test_impossible_block_header_is_refused(
    image: bytearray, at: int, layout: str, value: int
) -> None:
    good = Spot(42, 3 * PAGE, 0x5A175A17)
    parse_block(bytes(image), 3 * PAGE, good)
    struct.pack_into("<" + layout, image, 3 * PAGE + at, value)
    with pytest.raises(FormatError):
        parse_block(bytes(image), 3 * PAGE, good)


def record_offsets(data: bytes) -> list[int]:
    at, found = 128, []
    while at < len(data):
        found.append(at)
        at += struct.unpack_from("<I", data, at)[0]
    return found


@pytest.mark.parametrize(
    ("record", "at", "value"),
    [
        (0, 16, 4),  # mark: unknown kind
        (0, 20, 2),  # fewer counters than bytes
        (1, 4, 9),  # kind
        (1, 5, 33),  # sensor id
        (1, 6, 2),  # stream
        (1, 44, 5),  # window
        (1, 45, 0),  # close reason
        (1, 50, 1),  # fewer statistics than bytes
        (1, 16, 1),  # end before start
        (2, 0, 112),  # length
        (2, 52, 0),  # seq without numbered
        (2, 53, 1),  # flags
        (2, 54, 64),  # index
        (2, 56, 4),  # fields
        (2, 58, 2),  # scores
        (2, 62, 1),  # reserved
        (2, 71, 1),  # padding of the id
        (2, 60, 1),  # derived inputs
        (2, 92, 1),  # model of the score
        (2, 95, 2),  # flags of the score
        (2, 108, 60),  # tag length
        (2, 119, 1),  # padding
        (3, 68, 3),  # rule
        (3, 70, 0),  # severity
        (5, 42, 9),  # gap reason
        (6, 6, 255),  # retired without a stream
    ],
)
def test_malformed_record_is_refused(
    segment: penstock.Segment, record: int, at: int, value: int
) -> None:
    data = bytearray(segment.blocks[1].data)
    assert len(list(parse_block(bytes(data)).records(segment.schema))) == GROUP
    data[record_offsets(bytes(data))[record] + at] = value
    block = parse_block(bytes(data))
    with pytest.raises(FormatError):
        list(block.records(segment.schema))


@pytest.mark.parametrize(("models", "good"), [((0, 1), True), ((0, 0), False), ((1, 0), False)])
def test_model_says_one_thing_of_a_record(
    segment: penstock.Segment, models: tuple[int, int], good: bool
) -> None:
    climate, *others = segment.schema.streams
    two = dataclasses.replace(climate, models=climate.models * 2)
    schema = dataclasses.replace(segment.schema, streams=(two, *others))
    data = segment.blocks[1].data
    start, end = record_offsets(data)[2:4]
    reading, score = data[start:end], data[start + 92 : start + 108]
    record = bytearray(reading[:92] + score + reading[92:])
    struct.pack_into("<I", record, 0, len(record))
    record[58] = 2
    for i, model in enumerate(models):
        struct.pack_into("<H", record, 92 + 16 * i, model)
    block = parse_block(block_of(segment, bytes(record)))
    if good:
        assert len(list(block.records(schema))) == 1
        return
    with pytest.raises(FormatError, match="score"):
        list(block.records(schema))


# --- raw payloads: made here, for the fixture is older than they are ----------------------------

PAYLOADS = [b"x", b"PS\0\xff" * 30 + b"\0\0", b'[{"sensor":"a"}]\n', bytes(9216)]


def raw_record(payload: bytes, sensor: bytes = b"pump-7", stream: int = 0) -> bytearray:
    sensor_bytes = sensor.ljust(-(-len(sensor) // 4) * 4, b"\0")
    tail = sensor_bytes + payload
    tail = tail.ljust(-(-len(tail) // 8) * 8, b"\0")
    head = struct.pack(
        "<IBBHqII", 24 + len(tail), 6, len(sensor), stream, START_NS, len(payload), 0
    )
    return bytearray(head + tail)


def block_of(segment: penstock.Segment, *records: bytes) -> bytes:
    head = bytearray(segment.blocks[1].data[:128])
    body = b"".join(records)
    struct.pack_into("<III", head, 36, 128 + len(body), len(records), 0)
    return bytes(head) + body


def test_payloads_are_read_as_they_came(segment: penstock.Segment) -> None:
    message = block_of(segment, *(raw_record(p, b"s%d" % i, 1) for i, p in enumerate(PAYLOADS)))
    raw = penstock.read_packed(message, segment.schema).raw
    assert list(raw["payload"]) == PAYLOADS, "zeros at the end as well"
    assert list(raw["sensor"]) == ["s0", "s1", "s2", "s3"] and set(raw["stream"]) == {"light"}
    assert set(raw["arrival_ns"]) == {START_NS} and len(set(raw["id"])) == 4
    assert segment.records().raw["payload"].shape == (0,)


def test_id_of_a_payload_equals_that_of_c(segment: penstock.Segment) -> None:
    data = bytes(128) + raw_record(b"0123456789")
    (raw,) = parse_block(block_of(segment, data[128:])).records(segment.schema)
    place = (0x1122334455667788, 1_700_000_000, 2, 5)
    assert record_id(dataclasses.replace(raw, index=9), place) == "aedd1572ec094e8533caf7b7bde00fc3"


@pytest.mark.parametrize(
    ("at", "layout", "value"),
    [
        (0, "I", 40),
        (0, "I", 56),
        (4, "B", 5),
        (4, "B", 7),
        (5, "B", 0),
        (5, "B", 33),
        (6, "H", 2),
        (6, "H", 0xFFFF),
        (16, "I", 0),
        (16, "I", 9),
        (16, "I", 17),
        (16, "I", 0xFFFFFFFF),
        (20, "I", 1),
        (30, "B", 1),
        (42, "B", 1),
    ],
)
def test_malformed_payload_is_refused(
    segment: penstock.Segment, at: int, layout: str, value: int
) -> None:
    record = raw_record(b"0123456789")
    assert len(record) == 48
    list(parse_block(block_of(segment, record)).records(segment.schema))
    struct.pack_into("<" + layout, record, at, value)
    with pytest.raises(FormatError):
        list(parse_block(block_of(segment, record)).records(segment.schema))


def test_payload_beyond_a_datagram_is_refused(segment: penstock.Segment) -> None:
    with pytest.raises(FormatError):
        penstock.read_packed(block_of(segment, raw_record(bytes(9217))), segment.schema)


def test_schema_refuses_every_truncation(image: bytearray) -> None:
    n = struct.unpack_from("<I", image, 52)[0]
    whole = bytes(image[128 : 128 + n])
    assert parse_schema(whole).hash == xxhash.xxh3_64_intdigest(whole)
    for i in range(n):
        with pytest.raises(FormatError):
            parse_schema(whole[:i])
    with pytest.raises(FormatError):
        parse_schema(whole + b"\0")


def test_journal_yields_every_position_once(tmp_path: Path, image: bytearray) -> None:
    """A segment written again after a failed write holds blocks that an earlier one has too."""
    (tmp_path / f"{42:016x}.seg").write_bytes(image)
    again = unsealed(image)
    for page in (0, 1):
        struct.pack_into("<Q", again, page * PAGE + 8, 43)
        _seal(again, page * PAGE, PAGE, 0)
    for page in BLOCK_PAGES:
        struct.pack_into("<Q", again, page * PAGE + 96, 43)
        _seal(again, page * PAGE, struct.unpack_from("<I", again, page * PAGE + 36)[0], 0x5A175A17)
    struct.pack_into("<Q", again, 6 * PAGE + 24, 3)  # the last block is a new one
    _seal(again, 6 * PAGE, struct.unpack_from("<I", again, 6 * PAGE + 36)[0], 0x5A175A17)
    (tmp_path / f"{43:016x}.seg").write_bytes(again)
    (tmp_path / "appliance").write_bytes(b"not a segment")
    first, second = penstock.read_journal(tmp_path)
    assert rounds(first) == list(range(14)) and rounds(second) == [13]


def journal_of(folder: Path, images: dict[int, bytes]) -> Path:
    for serial, content in images.items():
        (folder / f"{serial:016x}.seg").write_bytes(content)
    return folder


def renumbered(image: bytearray, serial: int, first: int) -> bytearray:
    """The segment with another serial, its blocks numbered on from `first` in their lanes."""
    for page in (0, 1):
        struct.pack_into("<Q", image, page * PAGE + 8, serial)
        _seal(image, page * PAGE, PAGE, 0)
    for page in BLOCK_PAGES:
        sequence = struct.unpack_from("<Q", image, page * PAGE + 24)[0]
        struct.pack_into("<Q", image, page * PAGE + 24, sequence + first)
        struct.pack_into("<Q", image, page * PAGE + 96, serial)
        _seal(image, page * PAGE, struct.unpack_from("<I", image, page * PAGE + 36)[0], 0x5A175A17)
    return image


def test_segment_freed_meanwhile_is_left_out(tmp_path: Path, image: bytearray) -> None:
    """The daemon frees segments while its journal is read."""
    later = renumbered(unsealed(bytearray(image)), 44, 10)
    journal_of(tmp_path, {42: image, 43: image, 44: later})
    read = penstock.read_journal(tmp_path)
    first = next(read)
    (tmp_path / f"{43:016x}.seg").unlink()
    assert [seg.head.serial for seg in (first, *read)] == [42, 44]


CUT_WHILE_READ = """
import os, sys
import penstock.journal as journal
parse = journal.parse_segment
def cut_first(data):
    os.truncate(sys.argv[1], 2 * journal.PAGE)
    return parse(data)
journal.parse_segment = cut_first
print(len(journal.read_segment(sys.argv[1]).blocks))
"""


def test_segment_cut_while_it_is_read(tmp_path: Path, image: bytearray) -> None:
    """As the daemon does when it seals one."""
    path = tmp_path / "segment"
    path.write_bytes(unsealed(image))
    command = [sys.executable, "-c", CUT_WHILE_READ, str(path)]
    source = Path(penstock.__file__).resolve().parent.parent
    done = subprocess.run(command, capture_output=True, cwd=source)
    assert done.returncode == 0 and int(done.stdout) == len(BLOCK_PAGES), done.stderr


@pytest.mark.parametrize("bad", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_bad_segment_is_damage_and_no_end(
    tmp_path: Path, image: bytearray, bad: tuple[int, ...]
) -> None:
    serials = [42, 43, 44]
    images = {s: renumbered(unsealed(bytearray(image)), s, 10 * i) for i, s in enumerate(serials)}
    for which in bad:
        images[serials[which]][200] ^= 1
        images[serials[which]][PAGE + 200] ^= 1
    found = list(penstock.read_journal(journal_of(tmp_path, images)))
    assert [seg.head.serial for seg in found] == serials
    for i, seg in enumerate(found):
        if i not in bad:
            assert rounds(seg) == list(range(14)) and not seg.damage
            continue
        assert not seg.blocks and not seg.sealed
        (damage,) = seg.damage
        assert (damage.offset, damage.bytes) == (
            0,
            len(images[serials[i]]),
        ) and "header" in damage.why
        if len(bad) < 3:  # a reader of one stream goes on
            assert rounds(seg) == []


def test_empty_segment_is_damage(tmp_path: Path) -> None:
    (seg,) = penstock.read_journal(journal_of(tmp_path, {1: b""}))
    assert [d.bytes for d in seg.damage] == [0] and not seg.records().readings


def test_newer_segment_ends_the_reading(tmp_path: Path, image: bytearray) -> None:
    image[4] = 2
    with pytest.raises(NewerFormatError):
        list(penstock.read_journal(journal_of(tmp_path, {42: image})))


def _seal(data: bytearray, at: int, n: int, seed: int) -> None:
    """Puts the hash that belongs there into a header of 128 bytes."""
    struct.pack_into("<Q", data, at + 120, 0)
    digest = xxhash.xxh3_64_intdigest(bytes(data[at : at + n]), seed)
    struct.pack_into("<Q", data, at + 120, digest)


def test_what_is_no_segment_says_so(tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("short", b"PSEG"), ("other", b"x" * 3 * PAGE)):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(FormatError):
            penstock.read_segment(path)


def test_spoiled_bytes_raise_nothing_else(segment: penstock.Segment, image: bytearray) -> None:
    """Only FormatError may come out, or records that passed every check."""
    n = struct.unpack_from("<I", image, 52)[0]
    schema, block = bytes(image[128 : 128 + n]), segment.blocks[1].data
    rng = np.random.default_rng(1)
    for _ in range(3000):
        spoiled, records = bytearray(schema), bytearray(block)
        spoiled[rng.integers(n)] = rng.integers(256)
        records[128 + rng.integers(len(block) - 128)] = rng.integers(256)
        try:
            parse_schema(bytes(spoiled))
        except FormatError:
            pass
        try:
            penstock.read_packed(bytes(records), segment.schema)
        except FormatError:
            pass
