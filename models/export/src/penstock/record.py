"""Records of checked blocks as columns (docs/block.md, "Records" and "Record id")."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from penstock.schema import SEVERITIES, STATS, FormatError, Schema, Stream, printable

if TYPE_CHECKING:
    from penstock.journal import Block

Columns = dict[str, np.ndarray]

READING, WINDOW, ALERT, GAP, MARK, RAW = range(1, 7)
NO_STREAM = 0xFFFF
NUMBERED = 1  # bit of a reading's flags
FLAGS_ALL = 127
SCORE_NONE = 1  # flag of a score: an input was missing
OF_PLACE = 0x80  # set in the kind byte of ids that are made of a place
READINGS_MAX = 64
TAG_BYTES_MAX = 64
COUNTERS_MAX = 256
PAYLOAD_BYTES_MAX = 9216

CLOSE_REASONS = {1: "watermark", 2: "idle", 3: "clock_reset", 4: "retired"}
GAP_REASONS = {1: "crash", 2: "damage", 3: "schema", 4: "expired"}
MARKS = {1: "start", 2: "counters", 3: "retired"}
RETIRED = 3

_HEAD = struct.Struct("<IBBH")
_READING = struct.Struct("<8xqqQQQIHBBHBBHH")
_WINDOW = struct.Struct("<8xqqqQIBBBBHHI")
_ALERT = struct.Struct("<8xqqQQQdqIBBBB")
_GAP = struct.Struct("<8xqQQQHBBI")
_MARK = struct.Struct("<8xqB3sI")
_RAW = struct.Struct("<8xqII")
_SCORE = struct.Struct("<HBBIff")
_HEADS = {
    READING: _READING,
    WINDOW: _WINDOW,
    ALERT: _ALERT,
    GAP: _GAP,
    MARK: _MARK,
    RAW: _RAW,
}
_OF_A_SENSOR = (READING, WINDOW, ALERT, RAW)


@dataclass
class Records:
    """
    Columns of equal length, rows in log order.

    readings[stream]: id, sensor, event_ns, arrival_ns, life, boot, seq, seen, flags, index, group,
      values (float32 [n, fields], NaN = missing), input.EXPRESSION (what models took of the
      sensor's windows; NaN = missing), tag.NAME;
      score.MODEL.value, .probability, .class, .flags, .version (NaN, version 0: no score);
      position: epoch, worker, sequence.
    windows[stream][window]: id, sensor, start_ns, end_ns, arrival_ns, life, readings, reason,
      stat.NAME ([n, fields]: uint32 for count, else float32) for each statistic that is declared,
      score.MODEL.*, position.
    alerts: id, stream, sensor, rule, raised, severity, event_ns, arrival_ns, raised_ns, value,
      cause, life, rule_hash, position.
    gaps: id, stream, sensor, reason, count, arrival_ns, of_epoch, of_worker, of_sequence, position.
    marks: id, stream, sensor, what, arrival_ns, counters (uint64 [n, most]), position.
    raw: id, stream, sensor (of the first reading), arrival_ns, payload (bytes as they came),
      position.
    """

    readings: dict[str, Columns] = field(default_factory=dict)
    windows: dict[str, dict[str, Columns]] = field(default_factory=dict)
    alerts: Columns = field(default_factory=dict)
    gaps: Columns = field(default_factory=dict)
    marks: Columns = field(default_factory=dict)
    raw: Columns = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """One record: its head's values and where its parts lie in the block."""

    kind: int
    stream: Stream | None
    sensor: bytes
    head: tuple
    tail: int  # offset in the block, behind the padded id
    end: int
    index: int  # of the record in the block


def _pad(n: int, to: int) -> int:
    return (n + to - 1) // to * to


def _refuse(unless: bool, what: str) -> None:
    if not unless:
        raise FormatError(what)


def _check_reading(data: bytes, raw: Raw, s: Stream) -> int:
    (_, _, _, seq, _, _, flags, index, tags, fields, scores, group, derived, reserved) = raw.head
    _refuse(fields == len(s.fields) and tags == len(s.tags), "reading: fields or tags")
    _refuse(scores <= len(s.models) and flags <= FLAGS_ALL, "reading: scores or flags")
    _refuse(index < READINGS_MAX and group <= READINGS_MAX, "reading: index or group")
    _refuse(not reserved and (flags & NUMBERED or not seq), "reading: reserved or seq")
    _refuse(derived in (0, len(s.derived)), "reading: derived inputs")
    at = raw.tail + 4 * (fields + derived)
    _check_scores(data, at, scores, s, raw.end)
    at += _SCORE.size * scores
    for _ in range(tags):
        _refuse(at < raw.end, "reading: tags cut short")
        n = data[at]
        _refuse(n <= TAG_BYTES_MAX and at + 1 + n <= raw.end, "reading: tag too long")
        try:
            data[at + 1 : at + 1 + n].decode("utf-8", "strict")
        except UnicodeDecodeError as e:
            raise FormatError("reading: tag is not UTF-8") from e
        at += 1 + n
    return at


def _check_window(data: bytes, raw: Raw, s: Stream) -> int:
    start, end, _, _, count, window, reason, scores, zero8, fields, stats, zero = raw.head
    _refuse(window < len(s.windows) and fields == len(s.fields), "window: index or fields")
    _refuse(count > 0 and reason in CLOSE_REASONS, "window: count or reason")
    _refuse(not stats & ~(s.windows[window].stats | 1), "window: statistics")
    _refuse(end == start + s.windows[window].size_ns, "window: size")
    _refuse(scores <= len(s.models) and not zero8 and not zero, "window: scores or reserved")
    at = raw.tail + 4 * fields * stats.bit_count()
    _check_scores(data, at, scores, s, raw.end)
    return at + _SCORE.size * scores


def _check_scores(data: bytes, at: int, count: int, s: Stream, end: int) -> None:
    _refuse(at + _SCORE.size * count <= end, "record ends inside its values")
    before = -1
    for i in range(count):
        model, _, flags, *_ = _SCORE.unpack_from(data, at + _SCORE.size * i)
        _refuse(before < model < len(s.models) and flags <= SCORE_NONE, "score: model or flags")
        before = model


def _check_tail(data: bytes, raw: Raw) -> int:
    """Everything behind the common head; where the record's last part ends."""
    if raw.kind == READING and raw.stream:
        return _check_reading(data, raw, raw.stream)
    if raw.kind == WINDOW and raw.stream:
        return _check_window(data, raw, raw.stream)
    if raw.kind == ALERT and raw.stream:
        rule, raised, severity, zero = raw.head[-4:]
        _refuse(rule < len(raw.stream.rules) and raised <= 1, "alert: rule or raised")
        _refuse(severity in SEVERITIES and not zero, "alert: severity or reserved")
        return raw.tail
    if raw.kind == GAP:
        reason, zero8, zero = raw.head[-3:]
        _refuse(reason in GAP_REASONS and not zero8 and not zero, "gap: reason or reserved")
        return raw.tail
    if raw.kind == RAW:
        _, payload, zero = raw.head
        _refuse(0 < payload <= PAYLOAD_BYTES_MAX and not zero, "raw: payload or reserved")
        return raw.tail + payload
    _, what, zeros, counters = raw.head
    retired = what == RETIRED
    _refuse(what in MARKS and not any(zeros), "mark: what or reserved")
    _refuse(retired == bool(raw.sensor) == (raw.stream is not None), "mark: sensor or stream")
    _refuse(counters <= (0 if retired else COUNTERS_MAX), "mark: counters")
    return raw.tail + 8 * counters


def walk(data: bytes, start: int, schema: Schema) -> Iterator[Raw]:
    """The records from `start` to the end of a block's bytes; FormatError at the first bad one."""
    at, index = start, 0
    while at < len(data):
        _refuse(at + _HEAD.size <= len(data), "record head cut short")
        size, kind, id_len, stream = _HEAD.unpack_from(data, at)
        _refuse(kind in _HEADS and size % 8 == 0 and at + size <= len(data), "kind or length")
        sensor_at = at + _HEADS[kind].size
        tail = sensor_at + _pad(id_len, 4)
        _refuse(tail <= at + size and id_len <= 32, "record shorter than its head")
        _refuse(not any(data[sensor_at + id_len : tail]), "padding of the id")
        _refuse(stream == NO_STREAM or stream < len(schema.streams), "stream")
        sensor = data[sensor_at : sensor_at + id_len]
        printable(sensor)
        known = schema.streams[stream] if stream != NO_STREAM else None
        of_one = known is not None and id_len > 0
        _refuse(kind not in _OF_A_SENSOR or of_one, "record of no sensor")
        raw = Raw(kind, known, sensor, _HEADS[kind].unpack_from(data, at), tail, at + size, index)
        used = _check_tail(data, raw)
        _refuse(_pad(used - at, 8) == size and not any(data[used : at + size]), "length or padding")
        yield raw
        at += size
        index += 1


def _text(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _name(text: str) -> bytes:
    return _text(text.encode())


def record_id(raw: Raw, place: tuple[int, int, int, int]) -> str:
    """Id of a record; place = (appliance, epoch, worker, sequence) of its block."""
    s = raw.stream
    if s and raw.kind == READING and raw.head[6] & NUMBERED:
        seq, boot, index = raw.head[3], raw.head[5], raw.head[7]
        key = b"\x01" + _name(s.name) + _text(raw.sensor) + struct.pack("<IQI", boot, seq, index)
    elif s and raw.kind == WINDOW:
        start, life, window = raw.head[0], raw.head[3], s.windows[raw.head[5]].name
        key = b"\x02" + _name(s.name) + _text(raw.sensor) + struct.pack("<Q", life)
        key += _name(window) + struct.pack("<q", start)
    elif s and raw.kind == ALERT:
        low, high, rule, raised = raw.head[2], raw.head[3], raw.head[8], raw.head[9]
        key = b"\x03" + _name(s.rules[rule].name) + _name(s.name) + _text(raw.sensor)
        key += struct.pack("<QQB", low, high, raised)
    else:
        key = struct.pack("<BQQIQI", raw.kind | OF_PLACE, *place, raw.index)
    return xxhash.xxh3_128_hexdigest(key)


class _Table:
    """Rows on their way into columns."""

    def __init__(self, kinds: dict[str, str]) -> None:
        self.kinds = {**kinds, "epoch": "u8", "worker": "u4", "sequence": "u8"}
        self.rows: list[tuple] = []
        self.blobs: list[bytes] = []  # values, statistics or counters of each row

    def columns(self) -> Columns:
        parts = list(zip(*self.rows, strict=True)) or [()] * len(self.kinds)
        return {
            name: np.array(part, dtype=kind)
            for (name, kind), part in zip(self.kinds.items(), parts, strict=True)
        }


_READING_KINDS = {
    "id": "U32",
    "sensor": "U",
    "event_ns": "i8",
    "arrival_ns": "i8",
    "life": "u8",
    "boot": "u4",
    "seq": "u8",
    "seen": "u8",
    "flags": "u2",
    "index": "u1",
    "group": "u1",
}
_WINDOW_KINDS = {
    "id": "U32",
    "sensor": "U",
    "start_ns": "i8",
    "end_ns": "i8",
    "arrival_ns": "i8",
    "life": "u8",
    "readings": "u4",
    "reason": "U",
}
_ALERT_KINDS = {
    "id": "U32",
    "stream": "U",
    "sensor": "U",
    "rule": "U",
    "raised": "?",
    "severity": "U",
    "event_ns": "i8",
    "arrival_ns": "i8",
    "raised_ns": "i8",
    "value": "f8",
    "cause": "U32",
    "life": "u8",
    "rule_hash": "u4",
}
_GAP_KINDS = {
    "id": "U32",
    "stream": "U",
    "sensor": "U",
    "reason": "U",
    "count": "u8",
    "arrival_ns": "i8",
    "of_epoch": "u8",
    "of_worker": "u2",
    "of_sequence": "u8",
}
_MARK_KINDS = {"id": "U32", "stream": "U", "sensor": "U", "what": "U", "arrival_ns": "i8"}
# payload: an object each, for numpy's own bytes lose the zeros at their end
_RAW_KINDS = {"id": "U32", "stream": "U", "sensor": "U", "arrival_ns": "i8", "payload": "O"}

# of a score that is not there
_NO_SCORE = (0, 0, 0, float("nan"), float("nan"))


def _score_kinds(s: Stream) -> dict[str, str]:
    parts = {"class": "u1", "flags": "u1", "version": "u4", "value": "f4", "probability": "f4"}
    return {f"score.{m.name}.{part}": kind for m in s.models for part, kind in parts.items()}


def _scores(data: bytes, at: int, count: int, s: Stream) -> tuple:
    found = [_NO_SCORE] * len(s.models)
    for i in range(count):
        model, *rest = _SCORE.unpack_from(data, at + _SCORE.size * i)
        found[model] = tuple(rest)
    return tuple(v for score in found for v in score)


class _Collector:
    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.readings = {
            s.name: _Table(
                {
                    **_READING_KINDS,
                    **{f"tag.{t}": "U" for t in s.tags},
                    **{f"input.{d}": "f4" for d in s.derived},
                    **_score_kinds(s),
                }
            )
            for s in schema.streams
        }
        self.windows = {
            s.name: {w.name: _Table({**_WINDOW_KINDS, **_score_kinds(s)}) for w in s.windows}
            for s in schema.streams
        }
        self.alerts = _Table(_ALERT_KINDS)
        self.gaps = _Table(_GAP_KINDS)
        self.marks = _Table(_MARK_KINDS)
        self.raw = _Table(_RAW_KINDS)

    def add(self, data: bytes, raw: Raw, place: tuple[int, int, int, int]) -> None:
        key = (record_id(raw, place), raw.sensor.decode())
        position = place[1:]
        if raw.kind == READING and raw.stream:
            self._reading(data, raw, raw.stream, (key, position))
        elif raw.kind == WINDOW and raw.stream:
            self._window(data, raw, raw.stream, (key, position))
        elif raw.kind == ALERT and raw.stream:
            self._alert(raw, raw.stream, key, position)
        else:
            self._of_place(data, raw, key, position)

    def _reading(self, data: bytes, raw: Raw, s: Stream, ends: tuple[tuple, tuple]) -> None:
        table, (key, position) = self.readings[s.name], ends
        event, arrival, life, seq, seen, boot, flags, index, _, _, scores, group, derived, _ = (
            raw.head
        )
        values_end = raw.tail + 4 * len(s.fields)
        scores_at = values_end + 4 * derived
        at = scores_at + _SCORE.size * scores
        inputs = struct.unpack_from(f"<{derived}f", data, values_end)
        tags = []
        for _ in s.tags:
            tags.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        facts = (event, arrival, life, boot, seq, seen, flags, index, group)
        inputs = inputs or (float("nan"),) * len(s.derived)
        found = _scores(data, scores_at, scores, s)
        table.rows.append((*key, *facts, *tags, *inputs, *found, *position))
        table.blobs.append(data[raw.tail : values_end])

    def _window(self, data: bytes, raw: Raw, s: Stream, ends: tuple[tuple, tuple]) -> None:
        key, position = ends
        start, end, arrival, life, count, window, reason, scores, _, _, stats, _ = raw.head
        table = self.windows[s.name][s.windows[window].name]
        at = raw.tail + 4 * len(s.fields) * stats.bit_count()
        facts = (start, end, arrival, life, count, CLOSE_REASONS[reason])
        table.rows.append((*key, *facts, *_scores(data, at, scores, s), *position))
        table.blobs.append(struct.pack("<H", stats) + data[raw.tail : at])

    def _alert(self, raw: Raw, s: Stream, key: tuple, position: tuple) -> None:
        event, arrival, low, high, life, value, raised_ns, hashed, rule, raised, sev, _ = raw.head
        facts = (s.rules[rule].name, bool(raised), SEVERITIES[sev], event, arrival, raised_ns)
        cause = f"{high:016x}{low:016x}"
        row = (key[0], s.name, key[1], *facts, value, cause, life, hashed, *position)
        self.alerts.rows.append(row)

    def _of_place(self, data: bytes, raw: Raw, key: tuple, position: tuple) -> None:
        names = (key[0], raw.stream.name if raw.stream else "", key[1])
        if raw.kind == GAP:
            arrival, count, epoch, sequence, worker, reason, _, _ = raw.head
            facts = (GAP_REASONS[reason], count, arrival, epoch, worker, sequence)
            self.gaps.rows.append((*names, *facts, *position))
        elif raw.kind == RAW:
            arrival, payload, _ = raw.head
            facts = (arrival, data[raw.tail : raw.tail + payload])
            self.raw.rows.append((*names, *facts, *position))
        else:
            arrival, what, _, counters = raw.head
            self.marks.rows.append((*names, MARKS[what], arrival, *position))
            self.marks.blobs.append(data[raw.tail : raw.tail + 8 * counters])

    def records(self) -> Records:
        out = Records(alerts=self.alerts.columns(), gaps=self.gaps.columns())
        out.raw = self.raw.columns()
        for s in self.schema.streams:
            table = self.readings[s.name]
            out.readings[s.name] = table.columns()
            values = np.frombuffer(b"".join(table.blobs), "<f4")
            out.readings[s.name]["values"] = values.reshape(len(table.rows), len(s.fields))
            out.windows[s.name] = {
                w.name: {
                    **self.windows[s.name][w.name].columns(),
                    **_statistics(self.windows[s.name][w.name].blobs, w.stats, len(s.fields)),
                }
                for w in s.windows
            }
        out.marks = self.marks.columns()
        out.marks["counters"] = _counters(self.marks.blobs)
        return out


def _statistics(blobs: list[bytes], declared: int, fields: int) -> Columns:
    """A blob is u16 bits, then per field a word per bit; a bit that a row lacks is NaN or 0."""
    out: Columns = {}
    for bit, name in STATS.items():
        if not declared & bit:
            continue
        kind = "<u4" if name == "count" else "<f4"
        rows = np.full((len(blobs), fields), 0 if name == "count" else np.nan, kind)
        for i, blob in enumerate(blobs):
            bits = int.from_bytes(blob[:2], "little")
            if bits & bit:
                words = np.frombuffer(blob, kind, offset=2).reshape(fields, bits.bit_count())
                rows[i] = words[:, (bits & (bit - 1)).bit_count()]
        out[f"stat.{name}"] = rows
    return out


def _counters(blobs: list[bytes]) -> np.ndarray:
    most = max((len(b) // 8 for b in blobs), default=0)
    return np.frombuffer(b"".join(b.ljust(8 * most, b"\0") for b in blobs), "<u8").reshape(
        len(blobs), most
    )


def collect(blocks: Iterable["Block"], schema: Schema) -> Records:
    """All records of blocks that were written by this schema, as columns."""
    collector = _Collector(schema)
    for b in blocks:
        if b.head.schema_hash != schema.hash:
            raise FormatError("block was written by another schema")
        place = (b.head.appliance, b.head.epoch, b.head.worker, b.head.sequence)
        for raw in b.records(schema):
            collector.add(b.data, raw, place)
    return collector.records()
