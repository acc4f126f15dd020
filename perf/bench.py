#!/usr/bin/env python3
"""Measures penstockd against its peers; ./dev bench builds everything and calls this.

With --write each table of perf/README.md that the run makes takes the place of the one there; the
figures of every run lie in build/bench/main.json, or soak.json.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import compare
import machine
import matrix
import scenarios
import soak
import spark
from options import Options
from places import BUILD, ROOT, WORK, KafkaServer
from results import AIMS_TITLE, Result, Table, aims_table, write_json

README = ROOT / "perf" / "README.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"

# What deletes a topic's files soon; the default is a minute, and a run leaves a hundred MB.
BROKER = {"log.retention.check.interval.ms": "5000", "log.segment.delete.delay.ms": "1000"}

Bench = Callable[[KafkaServer, Options], Result]
BENCHES: list[tuple[Bench, set[str]]] = [
    (compare.main_rows, {"packed", "json", "always", "telegraf"}),
    (compare.scored, {"packed-scored", "json-scored"}),
    (compare.bursts, {"packed-bursts", "json-bursts"}),
    (compare.low_rate, {"low-rate", "low-rate-json", "low-rate-wait"}),
    (compare.latency, {"latency"}),
    (compare.sixteen, {"packed-16", "json-16", "always-16"}),
    (matrix.matrix, {"matrix"}),
    (soak.histogram, {"batches"}),
    (scenarios.scenarios, {"scenarios"}),
]
# Only when asked for: 0.7 GiB to install, and then some twenty minutes more.
SPARK: list[tuple[Bench, set[str]]] = [
    (spark.bulk, {claim.id for claim in spark.BULK_CLAIMS}),
    (spark.steady, {claim.id for claim in spark.STEADY_CLAIMS}),
    (spark.latency, {"spark-latency"}),
]


def arguments() -> argparse.Namespace:
    ids = sorted(set().union(*(names for _, names in BENCHES + SPARK)))
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=ids, default=[], help="several times")
    parser.add_argument("--quick", action="store_true", help="one short round; says little")
    parser.add_argument("--spark", action="store_true", help="the rows beside Spark too; slow")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=int, default=60000, help="datagrams/s of the main rows")
    parser.add_argument("--soak", metavar="10m", help="resident memory at half load, instead")
    parser.add_argument("--out", type=Path, default=WORK, help="where the figures go")
    parser.add_argument("--write", action="store_true", help="put the tables into perf/README.md")
    given = parser.parse_args()
    if given.write and given.quick:
        parser.error("--quick says too little to be written down")
    return given


def seconds_of(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text)
    if not found:
        sys.exit(f"bench: {text} is no duration like 90s or 10m")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def machine_table() -> Table:
    return Table("The machine", ["", ""], [[k, v] for k, v in machine.facts()])


def merged_rows(old: str, table: Table) -> Table:
    """The rows of the aims' table that this run did not measure stay."""
    rows = {}
    for line in old.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].startswith("`"):
            rows[cells[0]] = cells
    rows |= {line[0]: line for line in table.lines}
    return replace(table, lines=list(rows.values()))


def write_readme(tables: list[Table]) -> None:
    """A table goes where the one of its title is, else to the end."""
    before, rest = README.read_text().split(BEGIN)
    body, after = rest.split(END)
    found = {text.split("\n", 1)[0]: text for text in body.strip().split("### ")[1:]}
    for table in tables:
        if table.title == AIMS_TITLE:
            table = merged_rows(found.get(AIMS_TITLE, ""), table)
        found[table.title] = table.markdown().removeprefix("### ")
    text = "".join(f"### {part.strip()}\n\n" for part in found.values())
    README.write_text(f"{before}{BEGIN}\n\n{text}{END}{after}")


def run_all(kafka: KafkaServer, options: Options, with_spark: bool) -> Result:
    result = Result()
    for bench, ids in BENCHES:
        if options.wants(*ids):
            result.add(bench(kafka, options))
    for bench, ids in SPARK:
        if options.wants(*ids) if options.only else with_spark:
            result.add(bench(kafka, options))
    return result


def main() -> int:
    given = arguments()
    if not (BUILD / "control" / "penstockd").exists():
        sys.exit(f"bench: {BUILD} is not built: ./dev bench")
    options = Options(
        rounds=1 if given.quick else given.rounds,
        seconds=2 if given.quick else 10,
        rate=given.rate,
        only=frozenset(given.only),
        quick=given.quick,
    )
    began = time.monotonic()
    WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK, prefix="kafka-") as data:
        with KafkaServer(Path(data), BROKER) as kafka:
            if given.soak:
                result = soak.soak(kafka, seconds_of(given.soak))
            else:
                result = run_all(kafka, options, given.spark)
    write_json(given.out / ("soak.json" if given.soak else "main.json"), result.rows)
    head = [aims_table(result.rows)] if result.rows else []
    tables = [machine_table(), *head, *result.tables]
    for table in tables:
        print(table.plain())
    print(f"\n{(time.monotonic() - began) / 60:.1f} minutes")
    if given.write:
        write_readme(tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
