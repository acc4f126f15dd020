"""Interleaved rounds: A B C, then C A B, ...; a ratio is of two runs of one round, never of two."""

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from places import Unavailable
from run import Run

MORE_ROUNDS = 2  # at most so many times the rounds wanted are run


@dataclass
class Spread:
    """The median of what the rounds gave, and the furthest of them."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values), len(values))

    def text(self, digits: int = 2) -> str:
        low, high = f"{self.low:.{digits}f}", f"{self.high:.{digits}f}"
        return f"{self.median:.{digits}f} ({low} to {high})"


@dataclass
class Series:
    """The runs of a set of programs, by name, one of each a round."""

    rounds: list[dict[str, Run]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)  # name: why it could not run

    def pairs(self, a: str, b: str) -> list[tuple[Run, Run]]:
        """Of the rounds in which both count."""
        both = [(r[a], r[b]) for r in self.rounds if a in r and b in r]
        return [(x, y) for x, y in both if not x.rejected and not y.rejected]

    def rejected(self, a: str, b: str) -> int:
        return sum(a in r and b in r for r in self.rounds) - len(self.pairs(a, b))

    def runs(self, name: str) -> list[Run]:
        return [r[name] for r in self.rounds if name in r and not r[name].rejected]

    def spread(self, name: str, value: Callable[[Run], float]) -> Spread | None:
        values = [value(run) for run in self.runs(name)]
        return Spread.of(values) if values else None

    def compare(self, a: str, b: str, value: Callable[[Run, Run], float]) -> Spread | None:
        values = [value(x, y) for x, y in self.pairs(a, b)]
        return Spread.of(values) if values else None


def interleave(
    programs: dict[str, Callable[[], Run]], wanted: int, tell: Callable[[str], None]
) -> Series:
    """Runs rounds until each program has `wanted` that count, or enough have been tried."""
    series = Series()
    order = random.Random(len(programs))
    names = list(programs)
    for number in range(wanted * MORE_ROUNDS):
        if all(len(series.runs(name)) >= wanted for name in names):
            break
        this: dict[str, Run] = {}
        order.shuffle(names)
        for name in list(names):
            try:
                this[name] = programs[name]()
            except Unavailable as why:
                series.missing[name] = str(why)
                names.remove(name)
                tell(f"   {name}: {why}")
                continue
            tell(f"   round {number + 1}: {line(name, this[name])}")
        series.rounds.append(this)
    return series


def in_turn(
    measure: Callable[[], dict[str, Run]], wanted: int, tell: Callable[[str], None]
) -> Series:
    """Rounds in which all programs are up at once, until `wanted` count, or enough were tried."""
    series = Series()
    for number in range(wanted * MORE_ROUNDS):
        if sum(not any(r.rejected for r in this.values()) for this in series.rounds) >= wanted:
            break
        series.rounds.append(measure())
        for name, run in series.rounds[-1].items():
            tell(f"   round {number + 1}: {line(name, run)}")
    return series


def line(name: str, run: Run) -> str:
    text = f"{name:<10} {run.us_each:6.2f} us each, {run.readings / run.seconds:,.0f}/s"
    text += f", generator {run.load_cores:.2f} cores, broker {run.broker_cores:.2f}"
    total = run.latency.get("total", {})
    if "p99" in total:
        text += f", p50 {total['p50'] / 1e3:.2f} ms, p99 {total['p99'] / 1e3:.2f} ms"
    return text + (f"  REJECTED: {run.rejected}" if run.rejected else "")
