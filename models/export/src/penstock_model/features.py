"""
The inputs of a model for training, as the appliance computes them when it scores (docs/bundle.md,
"Inputs"): one sensor's readings in order of arrival in, a row of float32 for each out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from penstock_model.expression import (
    OF_TIME,
    OVER_PANES,
    STATS,
    Expression,
    ExpressionError,
    duration_text,
    parse,
)
from penstock_model.panes import Merged, Ring, Sensor

PANES_MAX = 128  # of one window that the appliance keeps
HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS
THURSDAY = 3  # 1970-01-01

Step = Callable[[Sensor], float]


@dataclass(frozen=True)
class Window:
    """Of the stream's config; without a slide it is as long as its size."""

    size_s: float
    slide_s: float | None = None

    @property
    def size_ns(self) -> int:
        return _ns(self.size_s)

    @property
    def slide_ns(self) -> int:
        return self.size_ns if self.slide_s is None else _ns(self.slide_s)


@dataclass(frozen=True)
class Stream:
    """What the config says of the stream; the same defaults."""

    fields: Sequence[str]
    windows: Sequence[Window] = ()
    lateness_s: float = 5
    max_skew_s: float = 60
    idle_s: float = 60
    forget_s: float = 86400

    @property
    def times(self) -> tuple[int, int, int, int]:
        return _ns(self.lateness_s), _ns(self.max_skew_s), _ns(self.idle_s), _ns(self.forget_s)


def _ns(seconds: float) -> int:
    return round(seconds * 1e9) if isinstance(seconds, float) else seconds * 10**9


# --- steps --------------------------------------------------------------------------------------


def _stat(call: str, m: Merged) -> float:
    """As in a window record; what is infinite becomes missing with all the rest."""
    if call == "mean":
        return m.mean if m.n else math.nan
    if call == "count":
        return m.n
    return getattr(m, call)


def _own(field: int) -> Step:
    return lambda s: s.values[field]


def _delta(field: int) -> Step:
    return lambda s: s.values[field] - s.before[field] if s.before else math.nan


def _ratio(over: int, under: int) -> Step:
    return lambda s: s.values[over] / s.values[under] if s.values[under] else math.nan


def _over_panes(call: str, ring: int, at: int) -> Step:
    if call == "slope":
        return lambda s: s.rings[ring].slope(at)
    return lambda s: _stat(call, s.rings[ring].merged(at))


def _zscore(field: int, ring: int, at: int) -> Step:
    def step(s: Sensor) -> float:
        m = s.rings[ring].merged(at)
        x, std = s.values[field], m.std
        if not math.isfinite(x):
            return math.nan
        return 0.0 if std == 0 else (x - m.mean) / std

    return step


def _hour(time_ns: int) -> float:
    return time_ns // HOUR_NS % 24


def _weekday(time_ns: int) -> float:
    return (time_ns // DAY_NS + THURSDAY) % 7


def _of_time(call: str) -> Callable[[int], float]:
    return _hour if call == "hour" else _weekday


def _float32(rows: list[list[float]], inputs: int) -> np.ndarray:
    """Rounded once, to the nearest; NaN for all that is not finite."""
    with np.errstate(over="ignore"):
        found = np.array(rows, dtype=np.float64).reshape(-1, inputs).astype(np.float32)
    found[~np.isfinite(found)] = np.nan
    return found


# --- features -----------------------------------------------------------------------------------


class Features:
    """Inputs of one model over one stream. Windows that no input needs cost nothing."""

    def __init__(self, stream: Stream, expressions: Sequence[str]) -> None:
        self.stream = stream
        self._parsed = [parse(text) for text in expressions]
        self.expressions = tuple(str(e) for e in self._parsed)
        self._field = {name: i for i, name in enumerate(stream.fields)}
        for e in self._parsed:
            self._check(e)
        self._sizes = sorted({e.size_ns for e in self._parsed if e.size_ns})
        self._used = {size: self._fields_over(size) for size in self._sizes}

    @property
    def windows(self) -> dict[str, str]:
        """Size and slide of the windows that the inputs need, as convert() takes them."""
        slides = {size: self._window(size).slide_ns for size in self._sizes}
        return {duration_text(size): duration_text(slide) for size, slide in slides.items()}

    def _window(self, size_ns: int) -> Window:
        found = {w.slide_ns: w for w in self.stream.windows if w.size_ns == size_ns}
        if len(found) != 1:
            size = duration_text(size_ns)
            raise ExpressionError(f"{len(found)} windows of {size} in the stream, by slide")
        return next(iter(found.values()))

    def _check(self, e: Expression) -> None:
        for field in e.fields:
            if field not in self._field:
                raise ExpressionError(f"{e}: the stream has no field {field!r}")
        if not e.size_ns:
            return
        w = self._window(e.size_ns)
        if not 0 < w.slide_ns <= w.size_ns or w.size_ns % w.slide_ns:
            raise ExpressionError(f"{e}: the size is no multiple of the slide, {w.slide_s} s")
        if e.call == "slope" and w.slide_ns == w.size_ns:
            raise ExpressionError(f"{e}: a slope needs two panes; the slide is as long as the size")
        lateness_ns = self.stream.times[0]
        if -(-(w.size_ns + lateness_ns) // w.slide_ns) + 1 > PANES_MAX:
            raise ExpressionError(f"{e}: more than {PANES_MAX} panes, choose a longer slide")

    def _fields_over(self, size_ns: int) -> list[int]:
        return sorted({self._field[e.fields[0]] for e in self._parsed if e.size_ns == size_ns})

    def _sensor(self, listed: bool = False) -> Sensor:
        rings = [Ring((s, self._window(s).slide_ns), self._used[s], listed) for s in self._sizes]
        return Sensor(self.stream.times, rings)

    def _place(self, e: Expression) -> tuple[int, int]:
        """Which ring, and which of its fields."""
        return self._sizes.index(e.size_ns), self._used[e.size_ns].index(self._field[e.fields[0]])

    def _step(self, e: Expression) -> Step:
        fields = [self._field[name] for name in e.fields]
        if e.call in OF_TIME:
            of_time = _of_time(e.call)
            return lambda s: of_time(s.event_ns)
        if e.call == "zscore":
            return _zscore(*fields, *self._place(e))
        if e.call in OVER_PANES:
            return _over_panes(e.call, *self._place(e))
        return {"": _own, "delta": _delta, "ratio": _ratio}[e.call](*fields)

    def _readings(self, event_ns: np.ndarray, arrival_ns: np.ndarray, values: np.ndarray) -> zip:
        values = np.asarray(values, dtype=np.float32)
        n = len(values)
        if values.shape != (n, len(self._field)):
            raise ValueError(f"values of shape {values.shape}, {len(self._field)} fields")
        if np.shape(event_ns) != (n,) or np.shape(arrival_ns) != (n,):
            raise ValueError(f"not as many event and arrival times as the {n} rows of values")
        times = (np.asarray(t, dtype=np.int64).tolist() for t in (event_ns, arrival_ns))
        return zip(*times, values.tolist(), strict=True)

    def rows(self, event_ns: np.ndarray, arrival_ns: np.ndarray, values: np.ndarray) -> np.ndarray:
        """
        float32 [n, inputs], NaN = missing. event_ns, arrival_ns: int64 [n]; values: float32
        [n, fields] of one sensor, all that it sent, in order of arrival.
        """
        sensor, steps = self._sensor(), [self._step(e) for e in self._parsed]
        found = []
        for event, arrival, row in self._readings(event_ns, arrival_ns, values):
            sensor.push(event, arrival, row)
            found.append([step(sensor) for step in steps])
        return _float32(found, len(steps))

    def closed(
        self, event_ns: np.ndarray, arrival_ns: np.ndarray, values: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        For models of closed windows: their ends, int64 [k], and float32 [k, inputs], in the order
        in which they close. What the last reading leaves open is left out.
        """
        for e in self._parsed:
            if e.call not in (*STATS, *OF_TIME) or len(self._sizes) != 1:
                raise ExpressionError(f"{e}: inputs of a closed window are statistics of that one")
        sensor = self._sensor(listed=True)
        (ring,) = sensor.rings
        for reading in self._readings(event_ns, arrival_ns, values):
            sensor.push(*reading)
        ends, found = [], []
        for start, stats in ring.closed:
            ends.append(start + ring.size_ns)
            found.append([self._of_closed(e, stats, ends[-1]) for e in self._parsed])
        return np.array(ends, dtype=np.int64), _float32(found, len(self._parsed))

    def _of_closed(self, e: Expression, stats: list[Merged], end_ns: int) -> float:
        if e.call in OF_TIME:
            return _of_time(e.call)(end_ns)
        return _stat(e.call, stats[self._place(e)[1]])
