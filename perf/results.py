"""What a bench hands on: rows for build/bench/NAME.json, tables for people."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rounds import Series, Spread


@dataclass
class Row:
    """One line of build/bench/NAME.json. `aim` begins with <= or >=; None: nothing was promised."""

    id: str
    what: str
    ratio: float | None
    low: float | None
    high: float | None
    rounds: int
    rejected: int
    aim: str | None
    reason: str = ""  # why there is no ratio

    @property
    def met(self) -> bool | None:
        if self.ratio is None or self.aim is None:
            return None
        relation, limit = self.aim.split()
        return self.ratio >= float(limit) if relation == ">=" else self.ratio <= float(limit)

    def as_json(self) -> dict[str, object]:
        row = asdict(self)
        if not self.reason:
            del row["reason"]
        return row


def row(id: str, what: str, spread: Spread | None, rejected: int, aim: str | None) -> Row:
    if spread is None:
        return Row(id, what, None, None, None, 0, rejected, aim, "no round counts")
    ratio, low, high = (round(v, 3) for v in (spread.median, spread.low, spread.high))
    return Row(id, what, ratio, low, high, spread.rounds, rejected, aim)


def missing_row(id: str, what: str, aim: str | None, why: str) -> Row:
    return Row(id, what, None, None, None, 0, 0, aim, why)


@dataclass
class Table:
    title: str
    head: list[str]
    lines: list[list[str]]
    below: str = ""  # a remark

    def markdown(self) -> str:
        cells = [self.head, ["---"] * len(self.head), *self.lines]
        text = "\n".join("| " + " | ".join(line) + " |" for line in cells)
        return f"### {self.title}\n\n{text}\n" + (f"\n{self.below}\n" if self.below else "")

    def plain(self) -> str:
        widths = [
            max(len(line[i]) for line in [self.head, *self.lines]) for i in range(len(self.head))
        ]
        lines = [
            "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
            for line in [self.head, *self.lines]
        ]
        return f"\n{self.title}\n\n" + "\n".join(lines) + (f"\n{self.below}" if self.below else "")


@dataclass
class Result:
    rows: list[Row] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    def add(self, other: "Result") -> None:
        self.rows += other.rows
        self.tables += other.tables


AIMS_TITLE = "Against the aims"


def aims_table(rows: list[Row]) -> Table:
    lines = []
    for r in rows:
        value = r.reason if r.ratio is None else f"**{r.ratio:.2f}** ({r.low:.2f} to {r.high:.2f})"
        met = {True: "yes", False: "no", None: ""}[r.met]
        counts = f"{r.rounds}, {r.rejected} rejected"
        lines.append([f"`{r.id}`", r.what, value, r.aim or "", met, counts])
    return Table(AIMS_TITLE, ["id", "what", "measured", "aim", "met", "rounds"], lines)


def programs_table(title: str, series: Series, names: dict[str, str], below: str = "") -> Table:
    """CPU of each program by itself, and of the threads that matter."""
    lines = []
    for name, what in names.items():
        if name not in series.missing and not any(name in r for r in series.rounds):
            continue
        each = series.spread(name, lambda run: run.us_each)
        if each is None:
            lines.append([what, series.missing.get(name, "no round counts"), "", "", "", ""])
            continue
        runs = series.runs(name)
        load = series.spread(name, lambda run: run.load_cores)
        broker = series.spread(name, lambda run: run.broker_cores)
        rate = series.spread(name, lambda run: run.readings / run.seconds)
        assert load and broker and rate
        last = runs[-1]
        threads = sorted(last.threads.items(), key=lambda t: -t[1])
        shares = [f"{n} {s / last.readings * 1e6:.2f}" for n, s in threads if s > last.cpu_s / 50]
        lines.append(
            [
                what,
                each.text(),
                ", ".join(shares[:5]),
                f"{rate.median:,.0f}",
                f"{load.median:.2f}",
                f"{broker.median:.2f}",
            ]
        )
    head = [
        "program",
        "CPU a reading, us",
        "by thread",
        "readings/s",
        "generator, cores",
        "broker, cores",
    ]
    return Table(title, head, lines, below)


def write_json(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([r.as_json() for r in rows], indent=2) + "\n")
