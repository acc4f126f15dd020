"""The live view: a frame redrawn in place on a terminal, a line now and then elsewhere."""

import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]
WIDTH_MAX = 100
BARS = " ▁▂▃▄▅▆▇█"


def count(n: float) -> str:
    return f"{round(n):,}"


def named(counts: Json, skip: str = "total") -> str:
    """{"version": 3, "utf8": 0} as "version 3"."""
    return ", ".join(
        f"{k.replace('_', ' ')} {count(v)}" for k, v in counts.items() if v and k != skip
    )


class Sample:
    """One look at the appliance."""

    def __init__(self, ledger: Json, status: Json, cpu_s: float) -> None:
        self.at = time.monotonic()
        self.ledger, self.status, self.cpu_s = ledger, status, cpu_s

    @property
    def recorded(self) -> int:
        return self.ledger["readings"]["recorded"]

    @property
    def sensors(self) -> int:
        return sum(w["sensors"] for w in self.status["workers"])


class Rates:
    """Per second over the last few samples, and for each second of the run."""

    def __init__(self) -> None:
        self.recent: deque[Sample] = deque(maxlen=7)
        self.history: list[float] = []
        self._second: Sample | None = None

    def add(self, sample: Sample) -> None:
        self.recent.append(sample)
        if self._second is None:
            self._second = sample
        elif sample.at - self._second.at >= 1:
            gone = sample.at - self._second.at
            self.history.append((sample.recorded - self._second.recorded) / gone)
            self._second = sample

    def _over_recent(self, value: Any) -> float:  # noqa: ANN401 - a function of a Sample
        first, last = self.recent[0], self.recent[-1]
        return (value(last) - value(first)) / (last.at - first.at) if last.at > first.at else 0

    @property
    def readings(self) -> float:
        return self._over_recent(lambda s: s.recorded)

    @property
    def cpu_percent(self) -> float:
        return 100 * self._over_recent(lambda s: s.cpu_s)

    def worker(self, index: int) -> float:
        return self._over_recent(lambda s: s.status["workers"][index]["recorded"])


class Terminal:
    """Escape sequences, where there is a terminal that wants them."""

    def __init__(self) -> None:
        out = sys.stdout
        self.live = out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.colour = self.live and not os.environ.get("NO_COLOR")
        self.unicode = (out.encoding or "").lower().replace("-", "") == "utf8"
        self._rows = 0

    def paint(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[m" if self.colour else text

    def bold(self, text: str) -> str:
        return self.paint(text, "1")

    def dim(self, text: str) -> str:
        return self.paint(text, "2")

    def red(self, text: str) -> str:
        return self.paint(text, "31")

    def yellow(self, text: str) -> str:
        return self.paint(text, "33")

    def green(self, text: str) -> str:
        return self.paint(text, "32")

    def size(self) -> tuple[int, int]:
        size = shutil.get_terminal_size((80, 24))
        return min(size.columns, WIDTH_MAX), size.lines

    def begin(self) -> None:
        if self.live:
            sys.stdout.write("\033[?25l\033[?7l")  # no cursor; what is too long is cut, not wrapped
            sys.stdout.flush()

    def draw(self, lines: Iterable[str]) -> None:
        """One write a frame, over the last one, so that nothing flickers."""
        rows = list(lines)[: self.size()[1] - 1]
        up = f"\033[{self._rows}A" if self._rows else ""
        frame = "".join(f"{row}\033[K\n" for row in rows)
        sys.stdout.write(f"\033[?2026h{up}\r{frame}\033[J\033[?2026l")
        sys.stdout.flush()
        self._rows = len(rows)

    def end(self) -> None:
        if self.live:
            sys.stdout.write("\033[?7h\033[?25h")
            sys.stdout.flush()


class View:
    def __init__(self, terminal: Terminal, title: str, seconds: float) -> None:
        self.t = terminal
        self.title = title
        self.seconds = seconds
        self.began = time.monotonic()
        self.rates = Rates()
        self._plain_due = 0.0

    def show(self, sample: Sample, alerts: Iterable[Json]) -> None:
        self.rates.add(sample)
        gone = sample.at - self.began
        if self.t.live:
            self.t.draw(self._frame(sample, list(alerts), gone))
        elif gone >= self._plain_due:
            self._plain_due = gone + 5
            print(self._line(sample, gone), flush=True)

    # ---- without a terminal ----

    def _line(self, s: Sample, gone: float) -> str:
        ledger = s.ledger
        lost = ledger["lost_before_us"]
        return (
            f"{gone:5.0f} s  {count(self.rates.readings):>6} readings/s  "
            f"{count(s.sensors)} sensors  {count(ledger['records']['window'])} windows  "
            f"{count(ledger['noted']['alerts_raised'])} alerts  "
            f"rejected {count(ledger['datagrams']['rejected']['total'])}  "
            f"lost before us {count(lost['sender'] + lost['socket'])}  "
            f"ledger {'balanced' if ledger['balanced'] else 'NOT BALANCED'}"
        )

    # ---- on a terminal ----

    def _frame(self, s: Sample, alerts: list[Json], gone: float) -> list[str]:
        width, height = self.t.size()
        lines = [*self._head(gone, width), "", *self._figures(s), "", *self._ledger(s), ""]
        room = min(8, height - len(lines) - 3)
        if room > 0:
            lines += self._alerts(s, alerts[-room:], room)
        return lines

    def _head(self, gone: float, width: int) -> list[str]:
        clock = f"{int(gone) // 60:02}:{int(gone) % 60:02} of {int(self.seconds) // 60:02}:"
        clock += f"{int(self.seconds) % 60:02}"
        fill = width - 2 - len(self.title) - len(clock)
        done = round(min(1, gone / self.seconds) * (width - 2))
        full, empty = ("━", "─") if self.t.unicode else ("=", "-")
        bar = self.t.green(full * done) + self.t.dim(empty * (width - 2 - done))
        return [f" {self.t.bold(self.title)}{' ' * max(1, fill)}{clock}", f" {bar}"]

    def _sparkline(self, length: int) -> str:
        values = self.rates.history[-length:]
        if not values or not self.t.unicode:
            return ""
        top = max(max(values), 1)
        return "".join(BARS[round(v / top * 8)] for v in values)

    def _figures(self, s: Sample) -> list[str]:
        def row(label: str, value: str, more: str) -> str:
            return f" {self.t.dim(f'{label:<16}')}{self.t.bold(f'{value:>10}')}  {more}"

        noted, records = s.ledger["noted"], s.ledger["records"]
        workers = ", ".join(
            f"core {w['core']}: {count(self.rates.worker(i))}/s"
            for i, w in enumerate(s.status["workers"][:4])
        )
        journal = s.status["journal"]
        synced = f"{journal['sync_us_last'] / 1000:.2f} ms"
        state = journal["state"]
        journal_text = self.t.green(state) if state == "ok" else self.t.red(state)
        open_alerts = noted["alerts_raised"] - noted["alerts_cleared"]
        return [
            row("readings/s", count(self.rates.readings), self._sparkline(60)),
            row("sensors", count(s.sensors), workers),
            row("windows closed", count(records["window"]), "30 s every 10 s, 5 min every 1 min"),
            row("alerts", count(noted["alerts_raised"]), f"{count(open_alerts)} of them open"),
            row("CPU", f"{self.rates.cpu_percent:.1f} %", "of one core, all threads of penstockd"),
            row("journal", synced, f"last sync; {journal_text}, sync {journal['sync']}"),
        ]

    def _sums(self, ledger: Json) -> list[str]:
        """Three sums side by side, every number in its place, so that only digits move."""
        d, r, records = ledger["datagrams"], ledger["readings"], ledger["records"]
        sums = [
            ("datagrams", [("received", d["received"]), ("decoded", d["decoded"]),
                           ("rejected", d["rejected"]["total"]), ("in flight", d["in_flight"])]),
            ("readings", [("decoded", r["decoded"]), ("recorded", r["recorded"]),
                          ("duplicate", r["duplicate"]), ("dropped", r["dropped"]["total"]),
                          ("in flight", r["in_flight"])]),
            ("records", [("appended", records["appended"]), ("written", records["written"]),
                         ("pending", records["pending"])]),
        ]  # fmt: skip
        wide = (self.t.size()[0] - 4) // len(sums)
        lines = ["   " + "".join(self.t.dim(f"  {name:<{wide - 2}}") for name, _ in sums)]
        for i in range(max(len(parts) for _, parts in sums)):
            line = ""
            for _, parts in sums:
                if i < len(parts):
                    name, n = parts[i]
                    number = self.t.bold(f"{count(n):>{wide - 16}}")
                    line += f"{' =+'[min(i, 2)]} {name:<10}{number}    "
                else:
                    line += " " * wide
            lines.append(f"   {line.rstrip()}")
        return lines

    def _output(self, o: Json) -> str:
        others = o["filtered"] + o["dead_letter"] + o["expired"] + o["quarantined"]
        name = "to the file" if o["name"] == "records" else f"to {o['name']}"
        parts = (
            ("written", o["written"]),
            ("= delivered", o["delivered"]),
            ("+ spooled", o["spooled"]),
            ("+ other", others),
        )
        text = " ".join(f"{label} {self.t.bold(f'{count(n):>9}')}" for label, n in parts)
        return f"   {self.t.dim(f'{name:<16}')}{text}"

    def _ledger(self, s: Sample) -> list[str]:
        ledger, t = s.ledger, self.t
        lost, noted = ledger["lost_before_us"], ledger["noted"]
        flagged = {k: noted[k] for k in ("late", "future", "out_of_range", "clock_reset")}
        verdict = t.green("balanced") if ledger["balanced"] else t.red("NOT BALANCED")

        def named_row(label: str, text: str) -> str:
            return f"   {t.dim(f'{label:<16}')}{t.yellow(text) if text else 'nothing'}"

        return [
            f" {t.bold('Ledger')}  {verdict}",
            *self._sums(ledger),
            *(self._output(o) for o in ledger["outputs"]),
            named_row("rejected", named(ledger["datagrams"]["rejected"])),
            named_row("dropped", named(ledger["readings"]["dropped"])),
            named_row("lost before us", named(lost, skip="")),
            named_row("flagged", named(flagged)),
        ]

    def _alerts(self, s: Sample, alerts: list[Json], room: int) -> list[str]:
        lines = [f" {self.t.bold('Alerts')}  {self.t.dim('the latest')}"]
        for record in alerts:
            lines.append(self._alert(record))
        return lines + [""] * (room - len(alerts))

    def _alert(self, record: Json) -> str:
        alert = record["alert"]
        raised = alert["state"] == "raise"
        clock = record["arrival"].split("T")[1][:8]
        state = self.t.paint(f"{alert['state']:<6}", "31" if raised else "32")
        value, limit = format(alert.get("value", 0), ".4g"), f"limit {alert['threshold']:.4g}"
        if alert["rule"] == "silent":
            value, limit = (f"{alert['value']:.1f} s" if raised else ""), "without data"
            limit = limit if raised else "back"
        return (
            f"   {self.t.dim(clock)}  {state} {alert['severity']:<9}"
            f"{alert['rule']:<18}{record['sensor']:<14}{value:>9}"
            f"  {self.t.dim(limit)}"
        )
