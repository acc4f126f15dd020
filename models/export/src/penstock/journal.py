"""Segments and blocks (docs/block.md): checked as strictly as the C reader checks them."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import xxhash

from penstock.record import Raw, Records, collect, walk
from penstock.schema import BYTES_MAX, FormatError, NewerFormatError, Schema, parse_schema

PAGE = 4096
BLOCK_MAGIC = 0x4B4C4250  # PBLK
SEGMENT_MAGIC = 0x47455350  # PSEG
FOOTER_MAGIC = 0x544F4650  # PFOT
HEAD_BYTES = 128
FOOTER_BYTES = 64
RECORD_BYTES_MIN = 24

_BLOCK = struct.Struct("<IHHQQQIIIIqqqqQQQQQQ")
_SEGMENT = struct.Struct("<IHHQQQQqIIQQQQ32sQ")
_FOOTER = struct.Struct("<IHHQQQIIqQQ")
_ENTRY = struct.Struct("<QQqqIIII")


class BlockHead(NamedTuple):
    magic: int
    version: int
    flags: int
    appliance: int
    epoch: int
    sequence: int
    worker: int
    bytes: int
    record_count: int
    reading_count: int
    event_min_ns: int
    event_max_ns: int
    arrival_min_ns: int
    arrival_max_ns: int
    schema_hash: int
    records_before: int
    segment_serial: int
    segment_offset: int
    durable_lp: int
    hash: int


class SegmentHead(NamedTuple):
    magic: int
    version: int
    endian: int
    serial: int
    salt: int
    appliance: int
    epoch: int
    created_ns: int
    copy_bytes: int
    schema_bytes: int
    schema_hash: int
    segment_bytes: int
    records_before: int
    supersedes: int
    reserved: bytes
    hash: int


class Footer(NamedTuple):
    magic: int
    version: int
    flags: int
    serial: int
    offset: int
    records_after: int
    block_count: int
    bytes: int
    sealed_ns: int
    reserved: int
    hash: int


class Spot(NamedTuple):
    """Where a block must lie to be good, and the salt of that segment."""

    serial: int
    offset: int
    salt: int


@dataclass(frozen=True)
class Block:
    head: BlockHead
    data: bytes  # header and records

    def records(self, schema: Schema) -> Iterator[Raw]:
        return walk(self.data, HEAD_BYTES, schema)


@dataclass(frozen=True)
class Damage:
    """Bytes of a segment that hold no good block where one should be."""

    offset: int
    bytes: int
    why: str


@dataclass
class Segment:
    head: SegmentHead
    schema: Schema
    sealed: bool
    blocks: list[Block] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)

    def records(self) -> Records:
        return collect(self.blocks, self.schema)


def _hash(data: bytes, hash_at: int, seed: int) -> int:
    """XXH3-64 of data as if the 8 bytes at hash_at were zero."""
    h = xxhash.xxh3_64(seed=seed)
    h.update(data[:hash_at])
    h.update(bytes(8))
    h.update(data[hash_at + 8 :])
    return h.intdigest()


def _check_head(h: BlockHead, there: int) -> None:
    if h.magic != BLOCK_MAGIC:
        raise FormatError("no block")
    if h.version > 1:
        raise NewerFormatError(f"block version {h.version}")
    possible = (
        h.version == 1
        and not h.flags
        and h.bytes > HEAD_BYTES
        and h.bytes % 8 == 0
        and h.sequence > 0
        and 0 < h.record_count <= (h.bytes - HEAD_BYTES) // RECORD_BYTES_MIN
        and h.reading_count <= h.record_count
    )
    if not possible:
        raise FormatError("impossible block header")
    if h.bytes > there:
        raise FormatError("block cut short")


def parse_block(data: bytes, at: int = 0, spot: Spot | None = None) -> Block:
    """
    The block that begins at data[at], with place and hash checked if its spot is known; FormatError
    when it is none.  Its records are not looked at.
    """
    if len(data) - at < HEAD_BYTES:
        raise FormatError("block cut short")
    head = BlockHead._make(_BLOCK.unpack_from(data, at))
    _check_head(head, len(data) - at)
    if spot and (head.segment_serial, head.segment_offset) != (spot.serial, spot.offset):
        raise FormatError("block of another place")
    whole = bytes(data[at : at + head.bytes])
    if spot and _hash(whole, HEAD_BYTES - 8, spot.salt) != head.hash:
        raise FormatError("hash differs")
    return Block(head, whole)


def _checked_block(data: bytes, spot: Spot, schema: Schema) -> Block:
    """A block whose records are all good, and as many as it says."""
    block = parse_block(data, spot.offset, spot)
    if block.head.schema_hash != schema.hash:
        raise FormatError("block of another schema")
    if sum(1 for _ in block.records(schema)) != block.head.record_count:
        raise FormatError("record count differs")
    return block


def read_packed(message: bytes, schema: Schema) -> Records:
    """The records of a `packed` Kafka message. Its salt is not at hand: the hash is not checked."""
    block = parse_block(message)
    if block.head.bytes != len(message):
        raise FormatError("bytes behind the block")
    return collect([block], schema)


def _header_at(data: bytes, at: int) -> tuple[SegmentHead, Schema]:
    if len(data) - at < HEAD_BYTES:
        raise FormatError("segment header cut short")
    h = SegmentHead._make(_SEGMENT.unpack_from(data, at))
    if h.magic != SEGMENT_MAGIC:
        raise FormatError("no segment")
    if h.version > 1:
        raise NewerFormatError(f"segment version {h.version}")
    possible = (
        h.version == 1
        and h.endian == 0x1234
        and h.copy_bytes % PAGE == 0
        and 0 < h.copy_bytes <= len(data) - at
        and h.schema_bytes <= h.copy_bytes - HEAD_BYTES
        and not any(h.reserved)
    )
    if not possible:
        raise FormatError("impossible segment header")
    if _hash(bytes(data[at : at + h.copy_bytes]), HEAD_BYTES - 8, 0) != h.hash:
        raise FormatError("hash of the segment header differs")
    schema = parse_schema(bytes(data[at + HEAD_BYTES : at + HEAD_BYTES + h.schema_bytes]))
    if schema.hash != h.schema_hash:
        raise FormatError("hash of the schema differs")
    return h, schema


def _header(data: bytes) -> tuple[SegmentHead, Schema]:
    """From the first copy or, when that is damaged, from the second."""
    try:
        return _header_at(data, 0)
    except NewerFormatError:
        raise
    except FormatError as first:
        for at in range(PAGE, min(len(data), BYTES_MAX + 2 * PAGE), PAGE):
            try:
                head, schema = _header_at(data, at)
            except FormatError:
                continue
            if head.copy_bytes == at:
                return head, schema
        raise first


def _footer_at(data: bytes, at: int, head: SegmentHead) -> list[int] | None:
    """Offsets of the blocks by the footer at that page; None when there is no good one."""
    f = Footer._make(_FOOTER.unpack_from(data, at))
    if (f.magic, f.version, f.serial, f.offset) != (FOOTER_MAGIC, 1, head.serial, at):
        return None
    if f.flags & ~1:  # 1: the run ended there in order
        return None
    if f.bytes > len(data) - at or f.block_count * _ENTRY.size > f.bytes - FOOTER_BYTES:
        return None
    if f.reserved or _hash(bytes(data[at : at + f.bytes]), FOOTER_BYTES - 8, head.salt) != f.hash:
        return None
    first = at + FOOTER_BYTES
    entries = _ENTRY.iter_unpack(data[first : first + f.block_count * _ENTRY.size])
    return [PAGE * entry[4] for entry in entries]


def _find_footer(data: bytes, head: SegmentHead) -> tuple[int, list[int]] | None:
    for at in range((len(data) - 1) // PAGE * PAGE, 2 * head.copy_bytes - 1, -PAGE):
        magic = bytes(data[at : at + 4])
        if magic == struct.pack("<I", FOOTER_MAGIC) and len(data) - at >= FOOTER_BYTES:
            offsets = _footer_at(data, at, head)
            if offsets is not None:
                return at, offsets
        if magic == struct.pack("<I", BLOCK_MAGIC):
            break
    return None


def _follow(seg: Segment, data: bytes, offsets: list[int]) -> None:
    for at in offsets:
        try:
            spot = Spot(seg.head.serial, at, seg.head.salt)
            seg.blocks.append(_checked_block(data, spot, seg.schema))
        except FormatError as e:
            seg.damage.append(Damage(at, PAGE, str(e)))


def _scan(seg: Segment, data: bytes) -> None:
    """
    Page by page.  What lies behind the last good block is no damage: zeros, a write that was cut
    off by the end of the run, or what an earlier segment left there.
    """
    at, lost, why = 2 * seg.head.copy_bytes, None, ""
    while at < len(data):
        try:
            spot = Spot(seg.head.serial, at, seg.head.salt)
            block = _checked_block(data, spot, seg.schema)
        except FormatError as e:
            if lost is None:
                lost, why = at, str(e)
            at += PAGE
            continue
        if lost is not None:
            seg.damage.append(Damage(lost, at - lost, why))
            lost = None
        seg.blocks.append(block)
        at += -(-block.head.bytes // PAGE) * PAGE


def parse_segment(data: bytes) -> Segment:
    """The segment that these bytes are; FormatError when no header copy is good."""
    head, schema = _header(data)
    footer = _find_footer(data, head)
    seg = Segment(head, schema, sealed=footer is not None)
    if footer:
        _follow(seg, data, footer[1])
    else:
        _scan(seg, data)
    return seg


def read_segment(path: str | Path) -> Segment:
    """
    As parse_segment; OSError when the file cannot be read.  Not mapped: a segment is cut behind
    its footer when it is sealed, and touching what is gone would end the process (SIGBUS).
    """
    return parse_segment(Path(path).read_bytes())


def _bad_segment(path: Path, why: str) -> Segment:
    """In place of one with no good header: its serial by its name, nothing but damage in it."""
    head = SegmentHead._make(_SEGMENT.unpack(bytes(HEAD_BYTES)))._replace(serial=int(path.stem, 16))
    damage = Damage(0, path.stat().st_size, why)
    return Segment(head, Schema((), 0), sealed=False, damage=[damage])


def _segment_there(path: Path) -> Segment | None:
    """None when it is gone: freed or set aside since the directory was read."""
    try:
        return read_segment(path)
    except FileNotFoundError:
        return None
    except NewerFormatError:
        raise
    except FormatError as e:
        why = str(e)
    with suppress(FileNotFoundError):
        return _bad_segment(path, why)
    return None


def _segments(directory: str | Path) -> Iterator[Segment]:
    """All that are there when their turn comes, each with a schema if any segment has one."""
    schema: Schema | None = None
    waiting: list[Segment] = []  # bad ones before the first good one
    for path in sorted(Path(directory).glob("[0-9a-f]" * 16 + ".seg")):
        seg = _segment_there(path)
        if seg is None:
            continue
        waiting.append(seg)
        if seg.head.magic:
            schema = seg.schema
        if schema is None:
            continue
        for one in waiting:
            one.schema = one.schema if one.head.magic else schema
            yield one
        waiting.clear()
    yield from waiting


def read_journal(directory: str | Path) -> Iterator[Segment]:
    """
    The segments of a directory in log order, each block once: one that was written again after a
    failed write is left out where it comes the second time.

    Of a segment with no good header there is no more than its damage, which is the whole file; its
    head has the serial alone and its schema is that of a neighbour.  Segments that are freed while
    the others are read are left out.  NewerFormatError ends it: that is no damage.
    """
    latest: dict[tuple[int, int], int] = {}
    for seg in _segments(directory):
        fresh = []
        for b in seg.blocks:
            lane = (b.head.epoch, b.head.worker)
            if b.head.sequence > latest.get(lane, 0):
                latest[lane] = b.head.sequence
                fresh.append(b)
        seg.blocks = fresh
        yield seg
