"""Datagrams, made from docs/wire.md and not from any code that reads them."""

import json
import struct
import time
from collections.abc import Sequence
from typing import Any

MAGIC, VERSION = 0x5350, 1
SCALED, NUMBERED, NO_TIME, DELTA_MS, TAGS = 1, 2, 4, 8, 16
HEAD = struct.Struct("<HBBHBBIHHQq")
MISSING_I16 = -32768


def binary(
    sensor: str | bytes,
    rows: Sequence[Sequence[float | None]],
    *,
    number: tuple[int, int] | None = None,
    time_ns: int | None = None,
    step_ns: int = 0,
    scaled: bool = False,
    tags: Sequence[bytes] | None = None,
    **header: int,
) -> bytes:
    """
    A datagram of one sensor. `rows` are values by field, None = missing; with `scaled` the raw
    i16. `number` is (boot, sequence). Header fields given by name replace what would be right.
    """
    name = sensor.encode() if isinstance(sensor, str) else sensor
    fields = len(rows[0]) if rows else 1
    flags = (SCALED if scaled else 0) | (NUMBERED if number else 0) | (TAGS if tags else 0)
    boot, sequence = number or (0, 0)
    head = {
        "magic": MAGIC,
        "version": VERSION,
        "flags": flags,
        "stream": 1,
        "id_len": len(name),
        "count": len(rows),
        "boot": boot,
        "fields": fields,
        "reserved": 0,
        "sequence": sequence,
        "base": time.time_ns() if time_ns is None else time_ns,
    }
    unknown = set(header) - set(head)
    assert not unknown, unknown
    parts = [HEAD.pack(*{**head, **header}.values()), name]
    if tags:
        parts += [bytes([len(tags)]), *(bytes([len(t)]) + t for t in tags)]
    for i, row in enumerate(rows):
        parts.append(struct.pack("<i", i * step_ns // 1000))
        bits = sum(1 << k for k, value in enumerate(row) if value is not None)
        parts.append(bits.to_bytes((len(row) + 7) // 8, "little"))
        code = "<h" if scaled else "<f"
        parts += [struct.pack(code, value) for value in row if value is not None]
    return b"".join(parts)


def reading(sensor: str, sequence: int | None = None, boot: int = 1, **values: Any) -> dict:  # noqa: ANN401
    """One JSON reading, its event time now unless given; numbered where a sequence is given."""
    out: dict[str, Any] = {"sensor": sensor, "time": time.time_ns()}
    if sequence is not None:
        out |= {"boot": boot, "seq": sequence}
    return out | values


def text(readings: Any) -> bytes:  # noqa: ANN401 - whatever JSON can say, also what is wrong
    return json.dumps(readings).encode()
