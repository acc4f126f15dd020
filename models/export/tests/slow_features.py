"""
The inputs again, plainly: per window a list of all readings that are in it, every statistic from
the readings anew. No panes are kept, nothing is remembered between two readings.
"""

import datetime
import math
from dataclasses import dataclass, field

LIMIT_NS = 8_500_000_000_000_000_000
RESET = 4


@dataclass
class Definition:
    size_ns: int
    slide_ns: int
    closed_to: float = -math.inf  # windows below this number are closed
    readings: list[tuple[int, int, list[float]]] = field(
        default_factory=list
    )  # pane, event, values

    def drop_closed(self) -> None:
        self.readings = [r for r in self.readings if r[0] >= self.closed_to]


@dataclass
class Partials:
    number: int
    n: int
    mean: float
    m2: float
    low: float
    high: float
    last: float


def partials(d: Definition, number: int, at: int) -> Partials:
    n, mean, m2, low, high, last, last_ns = 0, 0.0, 0.0, math.inf, -math.inf, math.nan, -math.inf
    for pane, event_ns, values in d.readings:
        v = values[at]
        if pane != number or not math.isfinite(v):
            continue
        n += 1
        delta = v - mean
        mean = mean + delta / n
        m2 = m2 + delta * (delta - delta / n)
        low, high = min(low, v), max(high, v)
        if event_ns >= last_ns:
            last, last_ns = v, event_ns
    return Partials(number, n, mean, m2, low, high, last)


def held(d: Definition, at: int) -> list[Partials]:
    """Panes that a window closing with the newest would have, oldest first."""
    numbers = sorted({pane for pane, _, _ in d.readings})
    numbers = [p for p in numbers if p > numbers[-1] - d.size_ns // d.slide_ns]
    return [partials(d, p, at) for p in numbers]


def merged(panes: list[Partials]) -> Partials:
    total = Partials(0, 0, 0.0, 0.0, math.inf, -math.inf, math.nan)
    for p in panes:
        if not p.n:
            continue
        delta = p.mean - total.mean
        share = float(p.n) / float(total.n + p.n)
        total = Partials(
            0,
            total.n + p.n,
            total.mean + delta * share,
            total.m2 + (p.m2 + delta * delta * total.n * share),
            min(total.low, p.low),
            max(total.high, p.high),
            p.last,
        )
    return total


def std(m: Partials) -> float:
    return math.sqrt(m.m2 / (m.n - 1)) if m.n > 1 else math.nan


def slope(d: Definition, at: int) -> float:
    panes = [p for p in held(d, at) if p.n]
    if len(panes) < 2:
        return math.nan
    newest = max(pane for pane, _, _ in d.readings)
    time = [float(p.number - newest) for p in panes]
    count = sum(p.n for p in panes)
    mid_t = mid_m = over = under = 0.0
    for p, t in zip(panes, time, strict=True):
        mid_t, mid_m = mid_t + p.n * t, mid_m + p.n * p.mean
    mid_t, mid_m = mid_t / count, mid_m / count
    for p, t in zip(panes, time, strict=True):
        over += p.n * (t - mid_t) * (p.mean - mid_m)
        under += p.n * (t - mid_t) * (t - mid_t)
    return over / under / (d.slide_ns / 1e9)


@dataclass
class SlowSensor:
    """times: lateness, max_skew, idle, forget; windows: by size."""

    times: tuple[int, int, int, int]
    slides: dict[int, int]
    marks: dict[str, int] = field(default_factory=dict)  # what happened how often

    def __post_init__(self) -> None:
        self.arrival: int | None = None
        self.values: list[float] | None = None
        self.before: list[float] | None = None
        self.event_ns = 0
        self.anew()

    def anew(self) -> None:
        self.greatest: int | None = None
        self.behind: list[int] = []
        self.windows = {size: Definition(size, slide) for size, slide in self.slides.items()}

    def mark(self, what: str) -> None:
        self.marks[what] = self.marks.get(what, 0) + 1

    def silence(self, arrival_ns: int) -> None:
        _, _, idle, forget = self.times
        silent = arrival_ns - self.arrival if self.arrival is not None else 0
        self.arrival = arrival_ns
        if silent > forget:
            self.mark("forgotten")
            self.values = None
            self.anew()
        elif silent > idle:
            for d in self.windows.values():
                if d.readings:
                    self.mark("idle")
                    d.closed_to = max(pane for pane, _, _ in d.readings) + 1
                    d.drop_closed()

    def clock_was_reset(self, event_ns: int) -> bool:
        lateness, max_skew, _, _ = self.times
        if self.greatest is None or self.greatest - lateness - event_ns <= max_skew:
            self.behind = []
        else:
            self.behind = [b for b in self.behind if event_ns >= self.behind[-1]] + [event_ns]
        return len(self.behind) == RESET

    def push(self, event_ns: int, arrival_ns: int, values: list[float]) -> None:
        lateness, max_skew, _, _ = self.times
        self.silence(arrival_ns)
        self.before, self.values, self.event_ns = self.values, values, event_ns
        if event_ns > LIMIT_NS or event_ns > arrival_ns + max_skew:
            self.behind = []
            self.mark("future")
            return
        if event_ns < -LIMIT_NS:
            return
        if self.clock_was_reset(event_ns):
            self.mark("reset")
            self.anew()
        self.greatest = event_ns if self.greatest is None else max(self.greatest, event_ns)
        for d in self.windows.values():
            ends_by = (self.greatest - lateness - d.size_ns) // d.slide_ns
            d.closed_to = max(d.closed_to, ends_by + 1)
            d.drop_closed()
            pane = event_ns // d.slide_ns
            if pane >= d.closed_to:
                d.readings.append((pane, event_ns, values))
            else:
                self.mark("late")

    def statistic(self, call: str, at: int, size_ns: int) -> float:
        d = self.windows[size_ns]
        if call == "slope":
            return slope(d, at) if d.readings else math.nan
        m = merged(held(d, at) if d.readings else [])
        if call == "zscore":
            x, s = self.values[at], std(m)
            return x if math.isnan(x) or math.isinf(x) else 0.0 if s == 0 else (x - m.mean) / s
        mean = m.mean if m.n else math.nan
        known = {"mean": mean, "std": std(m), "min": m.low, "max": m.high}
        return {**known, "last": m.last, "count": m.n}[call]

    def input(self, call: str, at: tuple[int, ...], size_ns: int) -> float:
        if call in ("hour", "weekday"):
            days, rest = divmod(self.event_ns, 86400 * 10**9)
            if call == "hour":
                return rest // (3600 * 10**9)
            return (datetime.date(1970, 1, 1) + datetime.timedelta(days=days)).weekday()
        if size_ns:
            return self.statistic(call, at[0], size_ns)
        x = self.values[at[0]]
        if call == "delta":
            return x - self.before[at[0]] if self.before else math.nan
        if call == "ratio":
            return x / self.values[at[1]] if self.values[at[1]] else math.nan
        return x
