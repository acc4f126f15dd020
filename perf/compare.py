"""Rows with aims: the same datagrams through penstockd and its peers, in interleaved rounds."""

from collections.abc import Callable
from functools import partial

import telegraf
from options import Options
from places import KafkaServer
from programs import (
    LONG_WINDOW,
    WINDOW,
    Good,
    GoodFast,
    Naive,
    NaiveTimed,
    Penstock,
    Program,
    Telegraf,
)
from results import Result, Table, missing_row, programs_table, row
from rounds import Series, in_turn, interleave
from run import Load, Run, measure, measure_in_turn

SLICES = 10  # of the load of `latency`, for each program in turn


class Packed(Penstock):
    name = "packed"


class Json(Penstock):
    name = "json"
    output = "json"
    linger = "5ms"  # librdkafka's own, as in the peers


class JsonPatient(Json):
    """Beside Telegraf, whose messages wait for each other that long."""

    name = "json-patient"
    linger = "100ms"


class Always(Packed):
    name = "always"
    sync = "always"


class JsonFast(Json):
    """JSON in, so that the peer beside it forwards a time that the consumer can read. A record
    waits 1 ms for its block; messages of one block are company enough."""

    form = "json"
    gather = "1ms"
    linger = "0s"


class GoodJson(GoodFast):
    form = "json"


class PackedScored(Packed):
    """The three models of the profile sensors on every reading, and the windows they need."""

    name = "packed-scored"
    windows = (WINDOW, LONG_WINDOW)
    models = ("status", "anomaly", "humidity")


class JsonScored(Json):
    name = "json-scored"
    windows = PackedScored.windows
    models = PackedScored.models


def series(
    kafka: KafkaServer, options: Options, load: Load, kinds: list[type[Program]], latency: str = ""
) -> Series:
    """Rounds of these programs under that load; `latency`: names beside which a consumer reads."""
    runs: dict[str, Callable[[], Run]] = {
        kind.name: partial(measure, kafka, kind, load, kind.name in latency.split())
        for kind in kinds
    }
    return interleave(runs, options.rounds, print)


def records_ratio(ours: Run, theirs: Run) -> float:
    return ours.per_cpu_s / theirs.per_cpu_s


def cost_ratio(ours: Run, theirs: Run) -> float:
    return ours.us_each / theirs.us_each


MAIN = {
    "packed": "packed, journal lazy",
    "json": "json, journal lazy",
    "always": "packed, journal always",
    "naive": "naive peer",
    "good": "good peer",
    "json-patient": "json, lazy, linger 100 ms",
    "telegraf": f"Telegraf {telegraf.version()}",
    "packed-scored": "packed, lazy, three models",
    "json-scored": "json, lazy, three models",
}


def main_kinds(options: Options) -> list[type[Program]]:
    """Of each ratio asked for both sides."""
    kinds: list[type[Program]] = []
    for kind, ids in (
        (Packed, ["packed"]),
        (Json, ["json"]),
        (JsonPatient, ["telegraf"]),
        (Always, ["always"]),
        (Naive, ["packed", "json", "always"]),
        (Good, []),
        (Telegraf, ["telegraf"]),
    ):
        if options.wants(*ids):
            kinds.append(kind)
    return kinds


def main_rows(kafka: KafkaServer, options: Options) -> Result:
    load = Load(rate=options.rate, seconds=options.seconds)
    print(f"\n== one reading a datagram of 100 bytes, {load.rate:,}/s, {load.sensors:,} sensors")
    found = series(kafka, options, load, main_kinds(options))
    result = Result()
    what = "records per CPU second over the naive program's messages"
    for name, aim in (("packed", ">= 1.5"), ("json", ">= 0.8"), ("always", None)):
        spread = found.compare(name, "naive", records_ratio)
        text = f"{MAIN[name]}: {what}"
        result.rows.append(row(name, text, spread, found.rejected(name, "naive"), aim))
    text = f"{MAIN['json-patient']}: records per CPU second over those of {MAIN['telegraf']}"
    if "telegraf" in found.missing:
        result.rows.append(missing_row("telegraf", text, ">= 4", found.missing["telegraf"]))
    else:
        spread = found.compare("json-patient", "telegraf", records_ratio)
        rejected = found.rejected("json-patient", "telegraf")
        result.rows.append(row("telegraf", text, spread, rejected, ">= 4"))
    result.rows = [r for r in result.rows if options.wants(r.id)]
    title = f"One reading a datagram, 100 bytes, {load.rate:,} datagrams/s"
    below = "Beside it: what the generator and the broker took of the same two cores."
    result.tables.append(programs_table(title, found, MAIN, below))
    return result


def scored(kafka: KafkaServer, options: Options) -> Result:
    load = Load(rate=options.rate, seconds=options.seconds)
    print(f"\n== each reading scored by three models, {load.rate:,}/s")
    kinds: list[type[Program]] = [PackedScored, JsonScored, Packed, Naive]
    found = series(kafka, options, load, kinds)
    result = Result()
    what = "records per CPU second over the naive program's messages"
    for name, aim in (("packed-scored", ">= 1.0"), ("json-scored", ">= 0.5")):
        spread = found.compare(name, "naive", records_ratio)
        text = f"{MAIN[name]}: {what}"
        result.rows.append(row(name, text, spread, found.rejected(name, "naive"), aim))
    title = f"Each reading scored by three models, {load.rate:,} datagrams/s"
    below = "Scored: two windows, 30 s/10 s and 5 min/1 min; `packed` beside them has the first."
    result.tables.append(programs_table(title, found, MAIN, below))
    return result


def bursts(kafka: KafkaServer, options: Options) -> Result:
    load = Load(rate=options.rate, seconds=options.seconds, tick_us=250)
    print(f"\n== the same in bursts, one each {load.tick_us} us")
    kinds: list[type[Program]] = [Packed, Json, Naive, Good]
    found = series(kafka, options.fewer(), load, kinds)
    result = Result()
    what = "in bursts of 15: records per CPU second over the naive program's messages"
    for name in ("packed", "json"):
        spread = found.compare(name, "naive", records_ratio)
        text = f"{MAIN[name]}, {what}"
        result.rows.append(row(f"{name}-bursts", text, spread, found.rejected(name, "naive"), None))
    title = f"The same in bursts, one each {load.tick_us} us, {load.rate:,} datagrams/s"
    below = "The naive program is woken once a burst; penstockd wakes no less often than before."
    result.tables.append(programs_table(title, found, MAIN, below))
    return result


def sixteen(kafka: KafkaServer, options: Options) -> Result:
    load = Load(rate=options.rate // 6, seconds=options.seconds, readings=16)
    print(f"\n== 16 readings a datagram, {load.rate:,} datagrams/s")
    kinds: list[type[Program]] = [Packed, Json, Always, Naive, Good]
    found = series(kafka, options.fewer(), load, kinds)
    result = Result()
    what = "16 readings a datagram: records per CPU second over the naive program's readings"
    for name in ("packed", "json", "always"):
        spread = found.compare(name, "naive", records_ratio)
        text = f"{MAIN[name]}, {what}"
        result.rows.append(row(f"{name}-16", text, spread, found.rejected(name, "naive"), None))
    title = f"16 readings a datagram, 373 bytes, {load.rate:,} datagrams/s"
    below = "The peers forward the datagram as one message; penstockd makes 16 records of it."
    result.tables.append(programs_table(title, found, MAIN, below))
    return result


def waited_ms(run: Run) -> float:
    return run.latency["waited"]["p99"] / 1e3


def low_rate(kafka: KafkaServer, options: Options) -> Result:
    load = Load(rate=20000, seconds=options.seconds)
    print("\n== 20,000 datagrams/s one by one, 100 bytes")
    kinds: list[type[Program]] = [Packed, Json, Naive, NaiveTimed, Good]
    found = series(kafka, options, load, kinds, latency="json")
    result = Result()
    text = "at 20,000 datagrams/s: CPU a message over the naive program's; "
    for id, name, aim in (("low-rate", "packed", "<= 0.7"), ("low-rate-json", "json", None)):
        spread = found.compare(name, "naive", cost_ratio)
        result.rows.append(row(id, text + MAIN[name], spread, found.rejected(name, "naive"), aim))
    text = (
        "the same: p99 from send to when a worker takes the datagram above that of the naive "
        "program, ms (not a ratio)"
    )
    spread = found.compare("json", "naive-timed", lambda a, b: waited_ms(a) - waited_ms(b))
    rejected = found.rejected("json", "naive-timed")
    result.rows.append(row("low-rate-wait", text, spread, rejected, "<= 1"))
    title = "From send to when the program has it, 20,000 datagrams/s"
    names = {"json": "penstockd", "naive-timed": "naive peer"}
    result.tables.append(times_table(title, found, "waited", names))
    title = "20,000 datagrams/s, evenly spaced, 100 bytes"
    result.tables.append(programs_table(title, found, MAIN))
    return result


def times_table(title: str, found: Series, of: str, names: dict[str, str]) -> Table:
    """Percentiles of `of`, which is "total" or "waited", of those programs."""
    lines = []
    for name, what in names.items():
        cells = [what]
        for at in ("p50", "p90", "p99", "p999"):
            spread = found.spread(name, lambda run, at=at: run.latency[of][at] / 1e3)
            cells.append(spread.text() if spread else "no round counts")
        lines.append(cells)
    return Table(title, ["program", "p50, ms", "p90, ms", "p99, ms", "p99.9, ms"], lines)


def p99_ms(run: Run) -> float:
    return run.latency["total"]["p99"] / 1e3


def latency(kafka: KafkaServer, options: Options) -> Result:
    load = Load(rate=5000, seconds=options.seconds)
    print("\n== send to readable at a consumer, 5,000/s, linger 1 ms")
    kinds: list[type[Program]] = [JsonFast, GoodJson]
    found = in_turn(lambda: measure_in_turn(kafka, kinds, load, SLICES), options.rounds, print)
    text = (
        "5,000/s, linger 1 ms: p99 from send to consumer above the good program's, ms (not a ratio)"
    )
    spread = found.compare("json", "good", lambda a, b: p99_ms(a) - p99_ms(b))
    result = Result([row("latency", text, spread, found.rejected("json", "good"), "<= 1")])
    title = "Send to consumer, 5,000 JSON datagrams/s, linger 1 ms"
    names = {name: MAIN[name] for name in ("json", "good")}
    result.tables.append(times_table(title, found, "total", names))
    return result
