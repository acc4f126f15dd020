"""Reads what Penstock writes (docs/block.md)."""

from penstock.journal import (
    Block,
    BlockHead,
    Damage,
    Segment,
    parse_block,
    read_journal,
    read_packed,
    read_segment,
)
from penstock.record import Records, collect
from penstock.schema import FormatError, NewerFormatError, Schema, parse_schema

__all__ = [
    "Block",
    "BlockHead",
    "Damage",
    "FormatError",
    "NewerFormatError",
    "Records",
    "Schema",
    "Segment",
    "collect",
    "parse_block",
    "parse_schema",
    "read_journal",
    "read_packed",
    "read_segment",
]
