"""Input expressions (docs/bundle.md, "Inputs"): from text to parts, from parts to the one text."""

import re
from dataclasses import dataclass

STATS = ("mean", "std", "min", "max", "last", "count")
OVER_PANES = (*STATS, "zscore", "slope")
OF_TIME = ("hour", "weekday")
FIELDS = {**dict.fromkeys((*OVER_PANES, "delta"), 1), "ratio": 2, **dict.fromkeys(OF_TIME, 0)}

EXPRESSION_BYTES_MAX = 95
FIELD_BYTES_MAX = 32
SIZE_NS_MAX = 2**63 - 1

# Of the config's durations; the greatest first.
_UNITS = {
    "d": 86400 * 10**9,
    "h": 3600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
    "ns": 1,
}
_DURATION = re.compile(r"([0-9]{1,19})(ns|us|ms|s|m|h|d)")
_CALL = re.compile(r"([^(),]*)(?:\(([^()]*)\))?")
# What the config allows in a field's name, but for what an expression is made of.
_FIELD = re.compile(r'[^ (),"\\\x00-\x1f\x7f-\x9f\ud800-\udfff]+')


class ExpressionError(ValueError):
    """A text that is no input expression; says which and why."""


@dataclass(frozen=True)
class Expression:
    """call is "" for a field's own value; size_ns is 0 where there is no window."""

    call: str
    fields: tuple[str, ...] = ()
    size_ns: int = 0

    def __str__(self) -> str:
        if not self.call:
            return self.fields[0]
        size = (duration_text(self.size_ns),) if self.size_ns else ()
        return f"{self.call}({','.join((*self.fields, *size))})"


def duration_ns(text: str) -> int:
    """ "5m" in nanoseconds."""
    found = _DURATION.fullmatch(text)
    ns = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < ns <= SIZE_NS_MAX:
        raise ExpressionError(f"{text!r} is no duration such as 30s, 5m or 1h")
    return ns


def duration_text(ns: int) -> str:
    """In the greatest unit that divides it, as the config writes it."""
    for unit, size in _UNITS.items():
        if ns % size == 0:
            return f"{ns // size}{unit}"
    raise AssertionError("a nanosecond divides all")


def _field(text: str, whole: str) -> str:
    if not _FIELD.fullmatch(text) or len(text.encode()) > FIELD_BYTES_MAX:
        raise ExpressionError(f"{whole!r}: {text!r} is no field that an expression can name")
    return text


def _arguments(call: str, inside: str, whole: str) -> Expression:
    parts = [part.strip(" ") for part in inside.split(",")] if inside.strip(" ") else []
    sized = call in OVER_PANES
    if len(parts) != FIELDS[call] + sized:
        raise ExpressionError(f"{whole!r}: {call} takes {FIELDS[call] + sized} arguments")
    fields = tuple(_field(part, whole) for part in parts[: FIELDS[call]])
    return Expression(call, fields, duration_ns(parts[-1]) if sized else 0)


def parse(text: str) -> Expression:
    """Blanks around its parts are nothing; str() of what comes out is the canonical form."""
    found = _CALL.fullmatch(text.strip(" "))
    if not found:
        raise ExpressionError(f"{text!r} is no input expression")
    name = found[1].strip(" ")
    if found[2] is None:
        expression = Expression("", (_field(name, text),))
    elif name in FIELDS:
        expression = _arguments(name, found[2], text)
    else:
        raise ExpressionError(f"{text!r}: there is no {name!r}, but {', '.join(sorted(FIELDS))}")
    if len(str(expression).encode()) > EXPRESSION_BYTES_MAX:
        raise ExpressionError(f"{text!r} is longer than {EXPRESSION_BYTES_MAX} bytes")
    return expression


def canonical(text: str) -> str:
    """The one text of what it means: no blanks, 5m for 300s."""
    return str(parse(text))
