"""Rows beside Spark Structured Streaming: the same readings, three models of the same size."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import machine
import spark_install
from compare import MAIN, JsonScored, PackedScored, p99_ms, records_ratio, times_table
from options import Options
from places import BUILD, WORK, KafkaServer, Unavailable
from results import Result, Row, missing_row, programs_table, row
from rounds import Series, interleave
from run import Load, Meter, Run, consumer, fresh_topic, judge, measure

# Two, for Spark's two cores; one for latency, as everywhere.
PARTITIONS = 2
SENSORS = 1000
AWAKE = 20000
START_TIMEOUT_S = 300
BATCH_TIMEOUT_S = 600
LATENCY_RATE = 700
STEADY_RATE = 5000  # Spark keeps up with it here; at twice that both cores are full
# Of a paced load: before the first round, before each further one.
PACED_WARM_UP_S = 30
PACED_WARM_S = 5
BEHIND_MAX_S = 10  # when the load ends: some micro-batches; beyond that it does not keep up


@dataclass
class Descendants:
    """CPU seconds of a process, its children and theirs, ended ones included, by name."""

    pids: list[int] = field(default_factory=list)
    cpu_s: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, root: int) -> "Descendants":
        children: dict[int, list[int]] = {}
        used: dict[int, tuple[str, float]] = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                head, _, rest = (process / "stat").read_text().rpartition(")")
            except OSError:  # it has just ended
                continue
            fields = rest.split()
            pid = int(process.name)
            children.setdefault(int(fields[1]), []).append(pid)
            # Its own ticks, and of those of its children that have ended and been waited for.
            used[pid] = head.partition("(")[2], sum(map(int, fields[11:15])) * machine.TICK_S
        found, due = cls(), [root]
        while due:
            pid = due.pop()
            due += children.get(pid, [])
            if pid in used:
                name, cpu_s = used[pid]
                found.pids.append(pid)
                found.cpu_s[name] = found.cpu_s.get(name, 0) + cpu_s
        return found


class Spark:
    """A Spark session that scores one topic into another when told so (peers/spark/job.py)."""

    def __init__(self, kafka: KafkaServer, kind: str, partitions: int) -> None:
        self.kafka, self.kind, self.partitions = kafka, kind, partitions
        self.source, self.sink = fresh_topic(), fresh_topic()
        self.process: subprocess.Popen[str] | None = None
        WORK.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(dir=WORK, prefix=f"spark-{kind}-"))

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        spark_install.check_java()
        python, jars = spark_install.python(), spark_install.jars()
        for topic in (self.source, self.sink):
            self.kafka.create_topic(topic, self.partitions)
        job = spark_install.SOURCE / "job.py"
        where = [str(self.folder), self.kafka.bootstrap, self.kind, self.source, self.sink]
        env = os.environ | {
            "PYSPARK_PYTHON": str(python),
            "PYTHONPATH": str(spark_install.SOURCE),
            "OMP_NUM_THREADS": "1",
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        env.pop("SPARK_HOME", None)
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [str(python), str(job), *where, str(jars)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.folder,
                env=env,
                text=True,
                start_new_session=True,  # Ctrl-C is for who started it, who ends it
            )
        self._expect("ready", START_TIMEOUT_S)

    def log(self) -> str:
        return (self.folder / "log").read_text()[-2000:].strip()

    def _expect(self, answer: str, timeout_s: float) -> None:
        assert self.process is not None and self.process.stdout is not None
        previous = signal.signal(signal.SIGALRM, self._too_late)
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        try:
            given = self.process.stdout.readline().strip()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        if given != answer:
            raise RuntimeError(f"Spark ({self.kind}) said {given!r}, not {answer!r}: {self.log()}")

    def _too_late(self, *_: object) -> None:
        raise RuntimeError(f"Spark ({self.kind}) takes too long: {self.log()}")

    def order(self, order: str, answer: str) -> None:
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        self._expect(answer, BATCH_TIMEOUT_S)

    def produce(self, count: int, rate: float = 0, linger_ms: int = 0) -> dict[str, Any]:
        command = [str(BUILD / "perf" / "penstock-produce"), self.kafka.bootstrap, self.source]
        command += [f"count={count}", f"rate={rate}", f"sensors={SENSORS}"]
        command += [f"partitions={self.partitions}", f"linger={linger_ms}"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout)

    def scored(self) -> int:
        return sum(self.kafka.end_offsets(self.sink).values())

    def close(self) -> None:
        """The JVM and the workers of Python have sessions and groups of their own."""
        if self.process is not None:
            assert self.process.stdin is not None
            pids = Descendants.of(self.pid).pids
            self.process.stdin.close()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                pids = Descendants.of(self.pid).pids
            for pid in pids:
                _kill(pid, str(self.folder))
            self.process.wait()
            for topic in (self.source, self.sink):
                self.kafka.delete_topic(topic)
        shutil.rmtree(self.folder, ignore_errors=True)


def _kill(pid: int, folder: str) -> None:
    """One of Spark's that is still there: its folder tells it from one that got its number."""
    try:
        if os.readlink(f"/proc/{pid}/cwd").startswith(folder):
            os.kill(pid, signal.SIGKILL)
    except OSError:
        return


@contextmanager
def running(kafka: KafkaServer, kind: str, partitions: int) -> Iterator[Spark]:
    spark = Spark(kafka, kind, partitions)
    try:
        spark.start()
        yield spark
    finally:
        spark.close()


def meter(spark: Spark) -> Meter:
    assert spark.kafka.process is not None
    cpu_s = Descendants.of(spark.pid).cpu_s
    times = os.times()
    harness_s = times.user + times.system + times.children_user + times.children_system
    broker_s = machine.process_cpu_s(spark.kafka.process.pid)
    return Meter(machine.Instant.now(), sum(cpu_s.values()), cpu_s, broker_s, harness_s)


def run_of(program: str, count: int, before: Meter, after: Meter) -> Run:
    took = after.machine.time_s - before.machine.time_s
    return Run(
        program=program,
        readings=count,
        datagrams=count,
        cpu_s=after.program_s - before.program_s,
        seconds=took,
        load_cores=0,
        broker_cores=(after.broker_s - before.broker_s) / took,
        threads={name: s - before.threads.get(name, 0) for name, s in after.threads.items()},
    )


def score_all(spark: Spark, count: int) -> Run:
    """`count` readings lie in the topic when it begins; it ends when all their scores do."""
    # Spark ends workers of Python that had nothing to do for a minute; their start does not count.
    spark.produce(AWAKE)
    spark.order("rest", "done")
    spark.produce(count)
    had = spark.scored()
    before = meter(spark)
    spark.order("rest", "done")
    after = meter(spark)
    run = run_of(spark.kind, count, before, after)
    run.rejected = judge(run, Load(rate=0), before, after, 0)
    if spark.scored() - had != count:
        run.rejected = f"{spark.scored() - had} of {count} were scored"
    return run


class Pace(NamedTuple):
    """How Spark gets what it scores as it comes."""

    mode: str  # an order of job.py
    rate: int
    linger_ms: int = 0  # of who puts it into Kafka
    latency: bool = False  # a consumer reads beside it


LIVE = Pace("live", LATENCY_RATE, latency=True)
CONTINUOUS = LIVE._replace(mode="continuous")
STEADY = Pace("steady", STEADY_RATE, linger_ms=5)


def score_paced(spark: Spark, pace: Pace, seconds: float, warm_s: float) -> Run:
    watching = consumer(spark.kafka, spark.sink) if pace.latency else nullcontext({})
    with watching as watched:
        had = spark.scored()
        spark.order(pace.mode, "started")
        try:
            time.sleep(3)  # until it reads from the topic's present end
            warm, count = int(pace.rate * warm_s), int(pace.rate * seconds)
            spark.produce(warm, pace.rate, pace.linger_ms)
            arrived = _wait(spark, had + warm)
            if watched:
                os.kill(watched["pid"], signal.SIGUSR1)
            beside_s = machine.process_cpu_s(watched["pid"]) if watched else 0
            before = meter(spark)
            sent = spark.produce(count, pace.rate, pace.linger_ms)
            arrived = _wait(spark, had + warm + count) and arrived
            after = meter(spark)
            beside_s = machine.process_cpu_s(watched["pid"]) - beside_s if watched else 0
        finally:
            spark.order("stop", "stopped")
    run = run_of(pace.mode, count, before, after)
    behind_s = run.seconds - sent["seconds"]
    run.seconds, run.load_cores = sent["seconds"], sent["cpu_s"] / sent["seconds"]
    run.latency = watched
    run.rejected = judge(run, Load(rate=pace.rate, seconds=seconds), before, after, beside_s)
    if behind_s > BEHIND_MAX_S:
        run.rejected = f"{behind_s:.0f} s behind"
    if not arrived:
        run.rejected = "not all was delivered"
    return run


def _wait(spark: Spark, until: int) -> bool:
    deadline = time.monotonic() + 30
    while spark.scored() < until:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


# --- records per CPU second ---------------------------------------------------------------------

KINDS = {
    "windows": "Spark, the same work: inputs of windows too",
    "map": "Spark, less work: inputs of the reading only",
}
NAMES = {f"spark-{kind}": what for kind, what in KINDS.items()}
NAMES |= {kind.name: MAIN[kind.name] for kind in (PackedScored, JsonScored)}


class Claim(NamedTuple):
    id: str
    ours: str
    kind: str
    text: str
    aim: str | None = None


SAME = "that does the same work, inputs of windows too"
LESS = "that does less than we do: inputs of the reading only, no windows"
BULK = "; it drains big batches at full speed, kindest to it: it does not stream then"
PACED = f"; both at {STEADY_RATE:,}/s, it in micro-batches as they come"
BULK_CLAIMS = [
    Claim("spark", "packed-scored", "windows", SAME + BULK, ">= 25"),
    Claim("spark-json", "json-scored", "windows", SAME + BULK, ">= 15"),
    Claim("spark-map", "packed-scored", "map", LESS + BULK),
    Claim("spark-map-json", "json-scored", "map", LESS + BULK),
]
STEADY_CLAIMS = [
    Claim("spark-steady", "packed-scored", "windows", SAME + PACED),
    Claim("spark-steady-json", "json-scored", "windows", SAME + PACED),
]
BROKER = "The broker's CPU, shown beside it, is in no ratio."


def rows_of(claims: list[Claim], found: Series | Unavailable) -> list[Row]:
    rows = []
    for claim in claims:
        text = f"{MAIN[claim.ours]}: records per CPU second over those of Spark "
        text += f"{spark_install.version()} {claim.text}"
        if isinstance(found, Unavailable):
            rows.append(missing_row(claim.id, text, claim.aim, str(found)))
            continue
        peer = f"spark-{claim.kind}"
        spread = found.compare(claim.ours, peer, records_ratio)
        rows.append(row(claim.id, text, spread, found.rejected(claim.ours, peer), claim.aim))
    return rows


def beside_spark(
    kafka: KafkaServer,
    load: Load,
    rounds: int,
    warm_up: Callable[[Spark], Run],
    score: Callable[[Spark], Run],
) -> Series | Unavailable:
    """Rounds of both kinds of Spark, whose sessions stay up, and both forms of ours."""
    with ExitStack() as stack:
        programs: dict[str, Callable[[], Run]] = {
            kind.name: partial(measure, kafka, kind, load) for kind in (PackedScored, JsonScored)
        }
        for kind in KINDS:
            try:
                spark = stack.enter_context(running(kafka, kind, PARTITIONS))
            except Unavailable as why:
                return why
            began = time.monotonic()
            us_each = warm_up(spark).us_each
            took = time.monotonic() - began
            print(f"   spark-{kind}: warm after {took:.0f} s, {us_each:.1f} us each", flush=True)
            programs[f"spark-{kind}"] = partial(score, spark)
        return interleave(programs, rounds, print)


def result_of(claims: list[Claim], found: Series | Unavailable, title: str, below: str) -> Result:
    result = Result(rows_of(claims, found))
    if isinstance(found, Series):
        below = f"Spark's threads: its processes. {below} {BROKER}"
        result.tables.append(programs_table(title, found, NAMES, below))
    return result


def bulk(kafka: KafkaServer, options: Options) -> Result:
    load = Load(rate=options.rate, seconds=options.seconds)
    count = 30000 if options.quick else 1200000
    print(f"\n== beside Spark {spark_install.version()}, three models on every reading")

    def warm_up(spark: Spark) -> Run:
        runs = [score_all(spark, count) for _ in range(1 if options.quick else 2)]
        return runs[-1]

    found = beside_spark(
        kafka, load, options.fewer().rounds, warm_up, lambda spark: score_all(spark, count)
    )
    title = "Each reading scored by three models, beside Spark"
    below = "It drains big batches at full speed; penstockd takes what it is sent."
    return result_of(BULK_CLAIMS, found, title, below)


def steady(kafka: KafkaServer, options: Options) -> Result:
    load = Load(rate=STEADY_RATE, seconds=2 * options.seconds)
    print(f"\n== the same at {STEADY_RATE:,}/s, as it comes")
    warm_s = 2 if options.quick else PACED_WARM_UP_S
    found = beside_spark(
        kafka,
        load,
        options.fewer().rounds,
        lambda spark: score_paced(spark, STEADY, 2, warm_s),
        lambda spark: score_paced(spark, STEADY, load.seconds, PACED_WARM_S),
    )
    title = f"Each reading scored by three models, beside Spark, {STEADY_RATE:,} readings/s"
    below = "It streams in micro-batches, the next as soon as one is done."
    return result_of(STEADY_CLAIMS, found, title, below)


# --- latency ------------------------------------------------------------------------------------


class ScoredAsItComes(JsonScored):
    """As the product comes: a record is on disk before it goes out."""

    name = "scored-always"
    form = "json"
    sync = "always"
    gather = ""
    linger = ""


class ScoredLazy(ScoredAsItComes):
    name = "scored-lazy"
    sync = "lazy"


MODES = {"spark-live": LIVE, "spark-continuous": CONTINUOUS}
LATENCY_NAMES = {
    "scored-always": "penstockd as it comes, three models",
    "scored-lazy": "the same, journal lazy",
    "spark-live": "Spark in micro-batches, inputs of the reading",
    "spark-continuous": "Spark in continuous mode, inputs of the reading",
}


def latency(kafka: KafkaServer, options: Options) -> Result:
    print(f"\n== send to readable at a consumer, {LATENCY_RATE}/s, beside Spark")
    load = Load(rate=LATENCY_RATE, seconds=options.seconds)
    text = f"{LATENCY_RATE}/s, three models: p99 from send to consumer over that of Spark's best "
    text += "mode (inputs of the reading only)"
    kinds = (ScoredAsItComes, ScoredLazy)
    with ExitStack() as stack:
        try:
            spark = stack.enter_context(running(kafka, "ml", 1))
        except Unavailable as why:
            return Result([missing_row("spark-latency", text, "<= 0.1", str(why))])
        warm_s = 2 if options.quick else PACED_WARM_UP_S
        for pace in MODES.values():
            score_paced(spark, pace, 2, warm_s)
        programs: dict[str, Callable[[], Run]] = {
            kind.name: partial(measure, kafka, kind, load, True) for kind in kinds
        }
        for name, pace in MODES.items():
            programs[name] = partial(score_paced, spark, pace, load.seconds, PACED_WARM_S)
        found = interleave(programs, options.fewer().rounds, print)
    p99 = {name: found.spread(name, p99_ms) for name in MODES}
    best = min(MODES, key=lambda n: p99[n].median if p99[n] else float("inf"))
    spread = found.compare("scored-always", best, lambda a, b: p99_ms(a) / p99_ms(b))
    rejected = found.rejected("scored-always", best)
    result = Result([row("spark-latency", text, spread, rejected, "<= 0.1")])
    title = f"Send to consumer, {LATENCY_RATE} readings/s scored by three models"
    result.tables.append(times_table(title, found, "total", LATENCY_NAMES))
    return result
