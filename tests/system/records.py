"""Records as outputs hand them on: from files, from Kafka in both forms."""

import base64
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kafka import Message

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "models" / "export" / "src"))

import penstock  # noqa: E402 - the package lies in the tree

Record = dict[str, Any]


class Reading(NamedTuple):
    """What all forms can say about a reading."""

    id: str
    sensor: str
    boot: int | None
    seq: int | None
    index: int


def rotated(path: Path) -> list[Path]:
    """The files of a file output, oldest first."""
    older = [p for p in path.parent.glob(path.name + ".*") if p.suffix[1:].isdigit()]
    older.sort(key=lambda p: int(p.suffix[1:]))
    return [*older, *([path] if path.exists() else [])]


def of_file(path: Path) -> list[Record]:
    """All whole lines; a test that reads while the daemon writes may see half of the last."""
    lines: list[bytes] = []
    for part in rotated(path):
        content = part.read_bytes()
        lines += content[: content.rfind(b"\n") + 1].splitlines()
    return [json.loads(line) for line in lines]


def of_json(messages: Iterable[Message]) -> list[Record]:
    return [json.loads(m.value) for m in messages if m.value is not None]


def readings(records: Iterable[Record]) -> list[Reading]:
    return [
        Reading(r["id"], r["sensor"], r.get("boot"), r.get("seq"), r.get("index", 0))
        for r in records
        if r["kind"] == "reading"
    ]


def of_blocks(
    messages: Iterable[Message], schemas: Iterable[Message]
) -> Iterator[penstock.Records]:
    """The blocks' records, each read by the schema that the topic of schemas has for it."""
    known = {}
    for m in schemas:
        if m.key and m.value:
            known[int(m.key, 16)] = penstock.parse_schema(m.value)
    for m in messages:
        assert m.value is not None
        block = penstock.parse_block(m.value)
        yield penstock.read_packed(m.value, known[block.head.schema_hash])


def of_packed(messages: Iterable[Message], schemas: Iterable[Message]) -> Iterator[Reading]:
    for block in of_blocks(messages, schemas):
        for columns in block.readings.values():
            for k in range(len(columns["id"])):
                yield Reading(
                    str(columns["id"][k]),
                    str(columns["sensor"][k]),
                    int(columns["boot"][k]),
                    int(columns["seq"][k]),
                    int(columns["index"][k]),
                )


class Payload(NamedTuple):
    id: str
    sensor: str
    bytes: bytes


def payloads(blocks: Iterable[penstock.Records]) -> list[Payload]:
    return [
        Payload(str(b.raw["id"][k]), str(b.raw["sensor"][k]), b.raw["payload"][k])
        for b in blocks
        for k in range(len(b.raw["id"]))
    ]


def payloads_of_json(records: Iterable[Record]) -> list[Payload]:
    return [
        Payload(r["id"], r["sensor"], base64.b64decode(r["payload"], validate=True))
        for r in records
        if r["kind"] == "raw"
    ]


def of_journal(directory: Path) -> Iterator[penstock.Records]:
    for segment in penstock.read_journal(directory):
        assert not segment.damage
        yield segment.records()


def ids(records: Iterable[Record]) -> list[str]:
    return [r["id"] for r in records]


def assert_distinct(found: list[str], where: str) -> None:
    seen: set[str] = set()
    twice = [i for i in found if i in seen or seen.add(i)]
    assert not twice, f"{len(twice)} ids come twice in {where}, the first is {twice[0]}"


def assert_in_order(found: Iterable[Reading], where: str, resent: bool = False) -> None:
    """
    The sequence of each (sensor, boot) rises. With `resent` a record may come again, which no
    sender-numbered order survives: then the order is that of first appearance.
    """
    last: dict[tuple[str, int | None], tuple[int, int]] = {}
    seen: set[str] = set()
    for r in found:
        if resent and r.id in seen:
            continue
        seen.add(r.id)
        assert r.seq is not None
        key, place = (r.sensor, r.boot), (r.seq, r.index)
        assert last.get(key, (-1, 0)) < place, f"{where}: {r} comes after {last[key]}"
        last[key] = place


def sequences(found: Iterable[Reading]) -> dict[str, set[int]]:
    out: dict[str, set[int]] = defaultdict(set)
    for r in found:
        assert r.seq is not None
        out[r.sensor].add(r.seq)
    return dict(out)
