"""A bundle's header, table, hashes and padding (docs/bundle.md, "Layout")."""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum

from penstock_model.model import FILE_BYTES_MAX, BundleError

MAGIC = b"PENSTKMB"
FORMAT = 1
ALIGN = 64
SECTIONS_MAX = 32

_HEADER = struct.Struct("<8sIIQ32sQ")
_ENTRY = struct.Struct("<IIQQ32sQ")
_HASHED = 24  # bytes of the header in front of its hash


class Section(IntEnum):
    MODEL = 1
    SCHEMA = 2
    BINS = 3
    FOREST = 4
    LEAVES = 5
    LINEAR = 6
    OUTPUT = 7
    METRICS = 8
    GOLDEN = 9
    PROVENANCE = 10


@dataclass(frozen=True)
class Entry:
    section: Section
    offset: int
    bytes: int
    sha256: bytes


def refuse(unless: bool, section: str, reason: str) -> None:
    if not unless:
        raise BundleError(section, reason)


def _aligned(n: int) -> int:
    return -(-n // ALIGN) * ALIGN


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def pack(sections: dict[Section, bytes]) -> bytes:
    """The file of these sections."""
    table, body = b"", b""
    start = _HEADER.size + _ENTRY.size * len(sections)
    for section, content in sorted(sections.items()):
        place = (section, 0, start + len(body), len(content), sha256(content), 0)
        table += _ENTRY.pack(*place)
        body += content.ljust(_aligned(len(content)), b"\0")
    total = start + len(body)
    refuse(total <= FILE_BYTES_MAX, "header", f"{total} bytes, at most {FILE_BYTES_MAX}")
    head = _HEADER.pack(MAGIC, FORMAT, len(sections), total, bytes(32), 0)[:_HASHED]
    return head + sha256(head, table) + bytes(8) + table + body


def _read_header(data: bytes) -> int:
    """How many sections there are; their table is whole and the one that was hashed."""
    refuse(len(data) >= _HEADER.size, "header", "cut short")
    refuse(len(data) <= FILE_BYTES_MAX, "header", f"the file has more than {FILE_BYTES_MAX} bytes")
    magic, version, count, total, digest, zero = _HEADER.unpack_from(data)
    refuse(magic == MAGIC, "header", "no model bundle")
    refuse(version == FORMAT, "header", f"format {version}; this reads {FORMAT}")
    refuse(1 <= count <= SECTIONS_MAX, "header", f"{count} sections, 1 to {SECTIONS_MAX}")
    refuse(total == len(data), "header", f"the file has {len(data)} bytes, not {total}")
    refuse(zero == 0, "header", "reserved bytes are not zero")
    end = _HEADER.size + _ENTRY.size * count
    refuse(end <= total, "header", "the table is cut short")
    refuse(digest == sha256(data[:_HASHED], data[_HEADER.size : end]), "header", "SHA-256 differs")
    return count


def _read_entry(data: bytes, index: int, last: int, offset: int) -> Entry:
    """Entry `index`, which must begin at `offset` and be of a type above `last`."""
    at = _HEADER.size + _ENTRY.size * index
    kind, zero, start, size, digest, zeros = _ENTRY.unpack_from(data, at)
    where = f"table, entry {index}"
    refuse(kind in Section.__members__.values(), where, f"no section has type {kind}")
    refuse(kind > last, where, "types do not rise")
    refuse(zero == 0 and zeros == 0, where, "reserved bytes are not zero")
    refuse(start == offset, where, f"begins at {start}, not at {offset}")
    refuse(1 <= size <= len(data) - start, where, f"{size} bytes do not lie in the file")
    return Entry(Section(kind), start, size, digest)


def entries(data: bytes) -> list[Entry]:
    """The table, all of the file checked: hashes, places, padding."""
    count = _read_header(data)
    offset, found = _HEADER.size + _ENTRY.size * count, []
    for index in range(count):
        entry = _read_entry(data, index, found[-1].section if found else 0, offset)
        name, end = entry.section.name.lower(), entry.offset + entry.bytes
        offset = _aligned(end)
        refuse(offset <= len(data), name, "its padding is cut short")
        refuse(not any(data[end:offset]), name, "padding is not zero")
        refuse(sha256(data[entry.offset : end]) == entry.sha256, name, "SHA-256 differs")
        found.append(entry)
    refuse(offset == len(data), "header", "bytes behind the last section")
    return found


def unpack(data: bytes) -> dict[Section, bytes]:
    """The sections' contents, by type."""
    return {e.section: bytes(data[e.offset : e.offset + e.bytes]) for e in entries(data)}
