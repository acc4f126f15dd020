"""The end of the demo: what was sent against what was recorded, told and judged."""

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from view import WIDTH_MAX, Terminal, count, named

if TYPE_CHECKING:
    from scores import Judged

Json = dict[str, Any]


@dataclass
class ReadBack:
    """Records as they came out of one output."""

    where: str
    kinds: Counter[str] = field(default_factory=Counter)
    ids: dict[str, str] = field(default_factory=dict)  # id to kind
    twice: int = 0

    def add(self, line: bytes) -> None:
        record = json.loads(line)
        self.kinds[record["kind"]] += 1
        self.twice += record["id"] in self.ids
        self.ids[record["id"]] = record["kind"]


def record_files(path: Path) -> list[Path]:
    """A file output's files, oldest first."""
    rotated = [p for p in path.parent.glob(path.name + ".*") if p.suffix[1:].isdigit()]
    return [*sorted(rotated, key=lambda p: int(p.suffix[1:])), path]


def read_files(path: Path) -> ReadBack:
    back = ReadBack("file")
    for part in record_files(path):
        with part.open("rb") as f:
            for line in f:
                back.add(line)
    return back


def read_messages(where: str, values: Iterable[bytes | None]) -> ReadBack:
    back = ReadBack(where)
    for value in values:
        if value is not None:
            back.add(value)
    return back


@dataclass
class Outcome:
    """All that the summary tells."""

    seconds: float
    devices: int
    credit: str
    fleets: list[Json]  # results of penstock-sim
    extra_readings: int  # sent beside them
    extra_twice: int
    extra_broken: int
    ledger: Json
    peak: float  # readings/s in the best second
    cpu_s: float
    resident_bytes: int
    latency_of: Json  # result of the fleet that was measured
    latency_to: str
    back: list[ReadBack]
    judged: "Judged"
    unseen: bool  # no model has learned from what was streamed
    status: int  # of penstockd, at its end

    @property
    def made(self) -> int:
        return sum(f["readings"] for f in self.fleets) + self.extra_readings

    def network(self, what: str) -> int:
        return sum(f["network"][what] for f in self.fleets)

    @property
    def not_taken(self) -> int:
        return sum(f["sent"]["failed"] for f in self.fleets)

    @property
    def unexplained(self) -> int:
        """Readings that were made and are in no count: one a datagram here, so sums are plain."""
        readings, lost = self.ledger["readings"], self.ledger["lost_before_us"]
        known = readings["recorded"] + readings["dropped"]["total"] + readings["in_flight"]
        known += self.network("lost_readings") + self.not_taken + lost["socket"]
        return self.made - known

    def problems(self) -> list[str]:
        found = []
        if not (self.ledger["balanced"] and self.ledger["settled"]):
            found.append("the ledger is not balanced")
        if self.unexplained:
            found.append(f"{count(self.unexplained)} readings are in no count")
        rejected = self.ledger["datagrams"]["rejected"]["total"]
        if rejected != self.extra_broken:
            found.append(f"{rejected} rejected datagrams, {self.extra_broken} broken ones sent")
        for o in self.ledger["outputs"]:
            if o["spooled"]:
                found.append(f"output {o['name']} has not had {count(o['spooled'])} records")
        for back in self.back:
            if back.twice:
                found.append(f"{count(back.twice)} records come twice from {back.where}")
            if back.kinds["reading"] != self.ledger["readings"]["recorded"]:
                found.append(f"{count(back.kinds['reading'])} readings come from {back.where}")
            if back.ids.keys() != self.back[0].ids.keys() & back.ids.keys():
                found.append(f"{back.where} has records that the file lacks")
        if self.judged.unscored:
            found.append(f"{count(self.judged.unscored)} readings lack a score")
        if self.status:
            found.append(f"penstockd ended with status {self.status}")
        return found


REPORT = "deploy/models/sensors/report.md"


def tell_scores(o: Outcome, row: Callable[..., None]) -> None:
    """Of the fleet whose truth is known."""
    j = o.judged
    broken, found = j.not_ok
    which = "that no model has learned from" if o.unseen else "of your own"
    models = ", ".join(f"{name} v{version}" for name, version in j.versions.items())
    row("readings judged", count(j.readings), f"recordings {which}, with faults; by {models}")
    row(
        "status, right",
        f"{100 * j.accuracy:.1f} %",
        f"of {count(j.judged)}, without those near a labelled event; always the commonest class: "
        f"{100 * j.majority:.1f} %; {count(found)} of {count(broken)} broken readings found, "
        f"{count(j.false_alarms)} whole ones called broken",
    )
    row(
        "anomaly, right",
        f"{100 * j.anomaly_accuracy:.1f} %",
        f"of {count(sum(j.anomaly.values()))}; never: {100 * j.never:.1f} %; {j.events_found} of "
        f"{j.events} labelled events found",
    )
    row(
        "humidity, RMSE",
        f"{j.rmse:.2f} %RH",
        f"of {count(len(j.humidity))} whole ones, told from the other fields; the best constant "
        f"has {j.spread:.2f}",
    )
    row("why, and on what else", "", f"{REPORT}; most faults here are hard to see")


def tell(o: Outcome, t: Terminal) -> bool:
    """Prints the summary; True when all is well."""

    def head(text: str) -> None:
        print(f"\n {t.bold(text)}")

    def row(label: str, value: str, more: str = "") -> None:
        first, *rest = textwrap.wrap(more, WIDTH_MAX - 42) or [""]
        print(f"   {label:<25}{value:>11}  {t.dim(first)}".rstrip())
        for line in rest:
            print(f"{'':41}{t.dim(line)}")

    ledger = o.ledger
    readings, noted, lost = ledger["readings"], ledger["noted"], ledger["lost_before_us"]
    rejected = ledger["datagrams"]["rejected"]

    print(f"\n {t.bold('Summary')}  {o.seconds:.0f} s, {count(o.devices)} devices")
    print(f" {t.dim(o.credit)}")
    head("Readings")
    row("sent by the devices", count(o.made))
    row(
        "- lost by the bad network",
        count(o.network("lost_readings")),
        f"simulated; {count(lost['sender'])} told from gaps, which takes 64 more",
    )
    row("- lost in the kernel", count(o.not_taken + lost["socket"]), "full sockets")
    row("- dropped", count(readings["dropped"]["total"]), named(readings["dropped"]))
    row(
        "= recorded",
        count(readings["recorded"]),
        f"{count(o.unexplained)} unexplained" if o.unexplained else "nothing is unexplained",
    )
    row(
        "received twice",
        count(readings["duplicate"]),
        f"{count(o.network('duplicated') + o.extra_twice)} sent twice; recorded once",
    )
    flagged = {k: noted[k] for k in ("late", "future", "out_of_range", "clock_reset")}
    row("flagged", count(sum(flagged.values())), named(flagged))
    row(
        "datagrams rejected",
        count(rejected["total"]),
        f"of {count(o.extra_broken)} broken ones: {named(rejected)}",
    )

    head("What came of them")
    row("windows closed", count(ledger["records"]["window"]), "30 s / 10 s and 5 min / 1 min")
    row(
        "alerts raised",
        count(noted["alerts_raised"]),
        f"{count(noted['alerts_cleared'])} of them cleared",
    )
    for back in o.back:
        kinds = ", ".join(f"{k}s {count(n)}" for k, n in sorted(back.kinds.items()))
        row(f"read back from {back.where}", count(len(back.ids)), f"distinct ids: {kinds}")

    head("What the models said")
    tell_scores(o, row)

    head("How fast")
    row(
        "throughput",
        f"{count(readings['recorded'] / o.seconds)}/s",
        f"{count(o.peak)}/s in the best second; asked for, not the limit",
    )
    row(
        "CPU of penstockd",
        f"{100 * o.cpu_s / o.seconds:.1f} %",
        f"of one core; {o.resident_bytes / 2**20:.0f} MiB resident",
    )
    ms = o.latency_of.get("verify", {}).get("read_ms")
    if ms:
        row(
            "latency, send to record",
            f"{ms['p50']:.2f} ms",
            f"p50; p99 {ms['p99']:.2f}, p99.9 {ms['p99.9']:.2f}, {o.latency_to}",
        )

    problems = o.problems()
    print()
    for problem in problems:
        print(f" {t.red('wrong:')} {problem}")
    if not problems:
        print(f" {t.green('The ledger is balanced:')} each reading is recorded or its loss named.")
    return not problems
