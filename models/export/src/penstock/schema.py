"""The streams that a segment describes in its header (docs/block.md, "Schema")."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import xxhash

MAGIC = 0x48435350  # PSCH
BYTES_MAX = 1 << 20
NAME_BYTES_MAX = 32
UNIT_BYTES_MAX = 16
CLASS_BYTES_MAX = 31
EXPRESSION_BYTES_MAX = 95
FIELD_IS_SCORE = -2  # in place of a rule's field: model and label follow
PANES_MAX = 128

# bit of a window's `stats`, in the order in which a record holds them
STATS = {1: "count", 2: "mean", 4: "std", 8: "min", 16: "max", 32: "last"}
RULE_KINDS = {1: "above", 2: "below", 3: "rate", 4: "missing"}
SEVERITIES = {1: "info", 2: "warning", 3: "critical"}


class FormatError(ValueError):
    """Bytes that are not what docs/block.md says."""


class NewerFormatError(FormatError):
    """A version that this package does not know."""


@dataclass(frozen=True)
class Field:
    name: str
    unit: str
    min: float
    max: float
    scale: float
    offset: float


@dataclass(frozen=True)
class Window:
    name: str
    size_ns: int
    slide_ns: int
    stats: int


@dataclass(frozen=True)
class Rule:
    name: str
    kind: str
    severity: str
    field: int
    model: int  # index where the rule is on a score, else -1
    label: int  # with a score: index in all labels of the stream; -1: none
    window: int
    stat: int
    threshold: float
    hysteresis: float
    count: int
    duration_ns: int
    period_ns: int


@dataclass(frozen=True)
class Model:
    name: str
    window: int  # index: scores what closes there; -1: scores readings
    labels: tuple[str, ...]  # of its classes; none for a regression


@dataclass(frozen=True)
class Stream:
    name: str
    id_key: str
    time_key: str
    number: int
    lateness_ns: int
    max_skew_ns: int
    idle_ns: int
    forget_ns: int
    fields: tuple[Field, ...]
    tags: tuple[str, ...]
    windows: tuple[Window, ...]
    rules: tuple[Rule, ...]
    models: tuple[Model, ...]
    derived: tuple[str, ...]  # inputs of the models that readings carry


@dataclass(frozen=True)
class Schema:
    streams: tuple[Stream, ...]
    hash: int


def printable(raw: bytes) -> str:
    """Text without control characters (C0, DEL, C1)."""
    try:
        text = raw.decode("utf-8", "strict")
    except UnicodeDecodeError as e:
        raise FormatError(f"not UTF-8: {raw!r}") from e
    if any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in text):
        raise FormatError(f"control character in {text!r}")
    return text


class _Source:
    """Takes values from the front; a FormatError where there are not enough bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def raw(self, n: int) -> bytes:
        part = self.data[self.at : self.at + n]
        if len(part) < n:
            raise FormatError("schema is cut short")
        self.at += n
        return part

    def take(self, code: str) -> float:
        layout = struct.Struct("<" + code)
        return layout.unpack(self.raw(layout.size))[0]

    def whole(self, code: str) -> int:
        return int(self.take(code))

    def text(self, most: int) -> str:
        n = self.whole("B")
        if n > most:
            raise FormatError("string longer than allowed")
        return printable(self.raw(n))

    def name(self) -> str:
        text = self.text(NAME_BYTES_MAX)
        if not text:
            raise FormatError("empty name")
        return text

    def duration(self) -> int:
        ns = self.whole("q")
        if ns < 0:
            raise FormatError("negative time")
        return ns


def _field(src: _Source) -> Field:
    f = Field(
        name=src.name(),
        unit=src.text(UNIT_BYTES_MAX),
        min=src.take("f"),
        max=src.take("f"),
        scale=src.take("f"),
        offset=src.take("f"),
    )
    if not f.min <= f.max or not math.isfinite(f.scale) or not math.isfinite(f.offset):
        raise FormatError(f"field {f.name}: impossible range or scale")
    return f


def _window(src: _Source) -> Window:
    w = Window(src.name(), src.duration(), src.duration(), src.whole("I"))
    if not w.size_ns or not w.slide_ns or w.size_ns % w.slide_ns:
        raise FormatError(f"window {w.name}: size is no multiple of slide")
    if w.size_ns // w.slide_ns > PANES_MAX or w.stats & ~63:
        raise FormatError(f"window {w.name}: too many panes or unknown statistic")
    return w


def _models(
    src: _Source, count: int, windows: int
) -> tuple[tuple[Model, ...], tuple[str, ...], tuple[str, ...]]:
    """The models, all labels, the derived inputs; nothing is written where there is no model."""
    if not count:
        return (), (), ()
    label_count, derived_count = src.whole("H"), src.whole("H")
    if label_count > 256 or derived_count > 256:
        raise FormatError("too many labels or derived inputs")
    heads = [(src.name(), src.whole("h"), src.whole("H"), src.whole("H")) for _ in range(count)]
    labels = tuple(src.text(CLASS_BYTES_MAX) for _ in range(label_count))
    derived = tuple(src.text(EXPRESSION_BYTES_MAX) for _ in range(derived_count))
    for name, window, at, n in heads:
        if not -1 <= window < windows or at + n > label_count:
            raise FormatError(f"model {name}: on a window or label that is not there")
    models = tuple(Model(name, window, labels[at : at + n]) for name, window, at, n in heads)
    return models, labels, derived


def _rule(src: _Source, fields: int, windows: int, models: int) -> Rule:
    name = src.name()
    kind, severity = src.whole("B"), src.whole("B")
    if kind not in RULE_KINDS or severity not in SEVERITIES:
        raise FormatError(f"rule {name}: unknown kind or severity")
    field, model, label = src.whole("h"), -1, -1
    if field == FIELD_IS_SCORE:
        field, model, label = -1, src.whole("H"), src.whole("h")
        if model >= models or not -1 <= label < 256:
            raise FormatError(f"rule {name}: on a model or label that is not there")
    r = Rule(
        name=name,
        kind=RULE_KINDS[kind],
        severity=SEVERITIES[severity],
        field=field,
        model=model,
        label=label,
        window=src.whole("h"),
        stat=src.whole("I"),
        threshold=src.take("d"),
        hysteresis=src.take("d"),
        count=src.whole("I"),
        duration_ns=src.duration(),
        period_ns=src.duration(),
    )
    if not -1 <= r.field < fields or not -1 <= r.window < windows:
        raise FormatError(f"rule {name}: on a field or window that is not there")
    if r.stat not in (0, *STATS):
        raise FormatError(f"rule {name}: unknown statistic")
    if not math.isfinite(r.threshold) or not math.isfinite(r.hysteresis):
        raise FormatError(f"rule {name}: threshold is no number")
    return r


def _differ(names: Sequence[object]) -> None:
    if len(set(names)) < len(names):
        raise FormatError("a name occurs twice")


def _stream(src: _Source) -> Stream:
    name = src.name()
    id_key, time_key = src.text(NAME_BYTES_MAX), src.text(NAME_BYTES_MAX)
    number = src.whole("H")
    counts = [src.whole("H") for _ in range(5)]
    if any(n > most for n, most in zip(counts, (1024, 8, 8, 32, 16), strict=True)):
        raise FormatError(f"stream {name}: too many of something")
    lateness, max_skew, idle, forget = (src.duration() for _ in range(4))

    fields = tuple(_field(src) for _ in range(counts[0]))
    tags = tuple(src.name() for _ in range(counts[1]))
    windows = tuple(_window(src) for _ in range(counts[2]))
    rules = tuple(_rule(src, len(fields), len(windows), counts[4]) for _ in range(counts[3]))
    models, _, derived = _models(src, counts[4], len(windows))
    _differ([f.name for f in fields])
    _differ(tags)
    _differ([w.name for w in windows])
    _differ([r.name for r in rules])
    _differ([m.name for m in models])
    return Stream(
        name=name,
        id_key=id_key,
        time_key=time_key,
        number=number,
        lateness_ns=lateness,
        max_skew_ns=max_skew,
        idle_ns=idle,
        forget_ns=forget,
        fields=fields,
        tags=tags,
        windows=windows,
        rules=rules,
        models=models,
        derived=derived,
    )


def parse_schema(data: bytes) -> Schema:
    """The set of streams that these bytes are, all of them; FormatError otherwise."""
    if len(data) > BYTES_MAX:
        raise FormatError("schema larger than 1 MiB")
    src = _Source(data)
    if src.whole("I") != MAGIC:
        raise FormatError("no schema")
    version = src.whole("H")
    if version > 1:
        raise NewerFormatError(f"schema version {version}")
    count = src.whole("H")
    if version != 1 or count > 64:
        raise FormatError("impossible schema header")
    streams = tuple(_stream(src) for _ in range(count))
    if src.at != len(data):
        raise FormatError("bytes behind the schema")
    _differ([s.name for s in streams])
    _differ([s.number for s in streams])
    return Schema(streams, xxhash.xxh3_64_intdigest(data))
