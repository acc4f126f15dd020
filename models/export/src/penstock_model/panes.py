"""
One sensor's time and panes, step for step as dataplane/window/window.c keeps them: same order of
operations, so that what comes out has the same bits. Python's float is C's double.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TIME_NONE = -(2**63)
EVENT_LIMIT_NS = 8_500_000_000_000_000_000
CLOCK_RESET_READINGS = 4


class Partial:
    """What a pane keeps of one field."""

    __slots__ = ("last", "last_ns", "m2", "max", "mean", "min", "n")

    def __init__(self) -> None:
        self.n = 0
        self.mean = self.m2 = 0.0
        self.min, self.max = math.inf, -math.inf
        self.last, self.last_ns = math.nan, TIME_NONE

    def add(self, v: float, event_ns: int) -> None:
        """Welford's step."""
        self.n += 1
        off = v - self.mean
        step = off / self.n
        self.mean += step
        self.m2 += off * (off - step)
        if v < self.min:
            self.min = v
        if v > self.max:
            self.max = v
        if event_ns >= self.last_ns:
            self.last, self.last_ns = v, event_ns


@dataclass(frozen=True, slots=True)
class Merged:
    """Of several panes, in float64."""

    n: float = 0.0
    mean: float = 0.0
    m2: float = 0.0
    min: float = math.inf
    max: float = -math.inf
    last: float = math.nan

    def with_later(self, p: Partial) -> "Merged":
        """Chan, Golub and LeVeque 1979."""
        if not p.n:
            return self
        n = float(p.n)
        off = p.mean - self.mean
        part = n / (self.n + n)
        # Of two zeros the page takes either; which of them follows fminf and fmaxf of glibc.
        return Merged(
            self.n + n,
            self.mean + off * part,
            self.m2 + (p.m2 + off * off * self.n * part),
            p.min if p.min <= self.min else self.min,
            p.max if p.max > self.max else self.max,
            p.last,
        )

    @property
    def std(self) -> float:
        return math.sqrt(self.m2 / (self.n - 1)) if self.n > 1 else math.nan


NOTHING = Merged()


class Ring:
    """
    The panes of one window definition that hold a reading, by number, with a partial of each of
    `fields`. `next` is the first window not closed; `closed` lists those that are, if wanted.
    """

    def __init__(self, window: tuple[int, int], fields: Sequence[int], listed: bool) -> None:
        self.size_ns, self.slide_ns = window
        self.span = self.size_ns // self.slide_ns
        self.fields = tuple(fields)
        self.listed = listed
        self.closed: list[tuple[int, list[Merged]]] = []  # start, statistics of each field
        self.forget()

    def forget(self) -> None:
        self.next = self.close_ns = self.newest = TIME_NONE
        self.panes: dict[int, list[Partial]] = {}
        self._changed(True)

    def _changed(self, older: bool) -> None:
        """What has been merged counts no longer; older: nor does that of the panes before."""
        self._now: dict[int, Merged] = {}
        if older:
            self._before: dict[int, Merged] = {}

    def add(self, event_ns: int, values: Sequence[float]) -> None:
        """Into its pane, unless that one is in closed windows only."""
        p = event_ns // self.slide_ns
        if p < self.next:
            return
        self._changed(p != self.newest)
        self.newest = max(self.newest, p)
        pane = self.panes.get(p)
        if pane is None:
            pane = self.panes[p] = [Partial() for _ in self.fields]
        for partial, field in zip(pane, self.fields, strict=True):
            v = values[field]
            if math.isfinite(v):
                partial.add(v, event_ns)

    def _merge(self, at: int, numbers: Iterable[int], found: Merged = NOTHING) -> Merged:
        for p in numbers:
            if p in self.panes:
                found = found.with_later(self.panes[p][at])
        return found

    def merged(self, at: int) -> Merged:
        """
        Of the field at that place: the panes that end with the newest. Those before it change
        seldom, so they are merged once; the order of the sum stays.
        """
        if not self.panes:
            return NOTHING
        if at not in self._now:
            if at not in self._before:
                self._before[at] = self._merge(at, range(self.newest - self.span + 1, self.newest))
            self._now[at] = self._merge(at, (self.newest,), self._before[at])
        return self._now[at]

    def slope(self, at: int) -> float:
        """A second, through the means of the panes that end with the newest."""
        numbers = range(self.newest - self.span + 1, self.newest + 1) if self.panes else ()
        held = [(float(p - self.newest), self.panes[p][at]) for p in numbers if p in self.panes]
        points = [(float(x.n), t, x.mean) for t, x in held if x.n]
        if len(points) < 2:
            return math.nan
        total = sum_t = sum_m = 0.0
        for n, t, m in points:
            total += n
            sum_t += n * t
            sum_m += n * m
        mid_t, mid_m = sum_t / total, sum_m / total
        over = under = 0.0
        for n, t, m in points:
            over += n * (t - mid_t) * (m - mid_m)
            under += n * (t - mid_t) * (t - mid_t)
        return over / under / (self.slide_ns / 1e9)

    def _list(self, first: int, end: int) -> None:
        """Windows from `first` to before `end`; one without a reading is nothing."""
        for k in range(first, end) if self.listed else ():
            numbers = range(k, k + self.span)
            if any(p in self.panes for p in numbers):
                stats = [self._merge(at, numbers) for at in range(len(self.fields))]
                self.closed.append((k * self.slide_ns, stats))

    def _close_below(self, to: int) -> None:
        self.panes = {p: pane for p, pane in self.panes.items() if p >= to}
        self.next = to
        self.close_ns = (to + self.span) * self.slide_ns
        self._changed(True)

    def close_due(self, watermark: int) -> None:
        if watermark < self.close_ns:
            return
        to = watermark // self.slide_ns - self.span + 1
        if self.panes:
            self._list(self.next, min(to, self.newest + 1))
        self._close_below(to)

    def close_everything(self) -> None:
        if self.panes:
            self._list(self.next, self.newest + 1)
            self._close_below(self.newest + 1)


class Sensor:
    """
    values and event_ns are of the reading pushed last, before of the one in front of it. Times of
    the stream: lateness_ns, max_skew_ns, idle_ns, forget_ns.
    """

    def __init__(self, times: tuple[int, int, int, int], rings: Sequence[Ring]) -> None:
        self.lateness_ns, self.max_skew_ns, self.idle_ns, self.forget_ns = times
        self.rings = rings
        self.arrival_ns: int | None = None
        self._begin()

    def _begin(self) -> None:
        self.values: Sequence[float] | None = None
        self.before: Sequence[float] | None = None
        self.event_ns = 0
        self._forget_time()

    def _forget_time(self) -> None:
        self.event_max = self.watermark = self.back_event = TIME_NONE
        self.back_count = 0
        for ring in self.rings:
            ring.forget()

    def _close_everything(self) -> None:
        for ring in self.rings:
            ring.close_everything()

    def _note_silence(self, arrival_ns: int) -> None:
        """What the timers of worker.c have done before this reading came."""
        silent = 0 if self.arrival_ns is None else arrival_ns - self.arrival_ns
        self.arrival_ns = arrival_ns
        if silent > min(self.idle_ns, self.forget_ns):
            self._close_everything()
        if silent > self.forget_ns:
            self._begin()

    def _note_back(self, event_ns: int) -> bool:
        """Several readings in a row and in order behind the watermark: the clock was set back."""
        if self.watermark == TIME_NONE or self.watermark - event_ns <= self.max_skew_ns:
            self.back_count = 0
        elif self.back_count and event_ns < self.back_event:
            self.back_count = 1
        else:
            self.back_count += 1
        self.back_event = event_ns
        return self.back_count == CLOCK_RESET_READINGS

    def push(self, event_ns: int, arrival_ns: int, values: Sequence[float]) -> None:
        self._note_silence(arrival_ns)
        self.before, self.values, self.event_ns = self.values, values, event_ns
        if event_ns > EVENT_LIMIT_NS or event_ns - arrival_ns > self.max_skew_ns:
            self.back_count = 0  # future
            return
        if event_ns < -EVENT_LIMIT_NS:
            return
        if self._note_back(event_ns):
            self._close_everything()
            self._forget_time()
        if event_ns > self.event_max:
            self.event_max = event_ns
            self.watermark = event_ns - self.lateness_ns
        for ring in self.rings:
            ring.close_due(self.watermark)
            ring.add(event_ns, values)
