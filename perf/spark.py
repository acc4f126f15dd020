"""Rows beside Spark Structured Streaming: the same readings, three models of the same size."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import machine
import spark_install
from compare import MAIN, JsonScored, PackedScored, p99_ms, records_ratio, times_table
from options import Options
from places import BUILD, WORK, KafkaServer, Unavailable
from results import Result, missing_row, programs_table, row
from rounds import interleave
from run import Load, Meter, Run, consumer, fresh_topic, judge, measure

# Two, for Spark's two cores; one for latency, as everywhere.
PARTITIONS = 2
SENSORS = 1000
AWAKE = 20000
START_TIMEOUT_S = 300
BATCH_TIMEOUT_S = 600
LATENCY_RATE = 700
LATENCY_WARM_UP_S = 30  # of load before the first round, 5 before each further one
LATENCY_WARM_S = 5


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

    def produce(self, count: int, rate: float = 0) -> None:
        command = [str(BUILD / "perf" / "penstock-produce"), self.kafka.bootstrap, self.source]
        command += [f"count={count}", f"rate={rate}", f"sensors={SENSORS}"]
        command += [f"partitions={self.partitions}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

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


def meter(spark: Spark) -> tuple[Meter, dict[str, float]]:
    assert spark.kafka.process is not None
    cpu_s = Descendants.of(spark.pid).cpu_s
    times = os.times()
    harness_s = times.user + times.system + times.children_user + times.children_system
    broker_s = machine.process_cpu_s(spark.kafka.process.pid)
    now = machine.Instant.now()
    return Meter(now, sum(cpu_s.values()), cpu_s, broker_s, harness_s), cpu_s


def score_all(spark: Spark, count: int) -> Run:
    """`count` readings lie in the topic when it begins; it ends when all their scores do."""
    # Spark ends workers of Python that had nothing to do for a minute; their start does not count.
    spark.produce(AWAKE)
    spark.order("rest", "done")
    spark.produce(count)
    had = spark.scored()
    before, used_before = meter(spark)
    spark.order("rest", "done")
    after, used = meter(spark)
    took = after.machine.time_s - before.machine.time_s
    run = Run(
        program=spark.kind,
        readings=count,
        datagrams=count,
        cpu_s=after.program_s - before.program_s,
        seconds=took,
        load_cores=0,
        broker_cores=(after.broker_s - before.broker_s) / took,
        threads={name: s - used_before.get(name, 0) for name, s in used.items()},
    )
    run.rejected = judge(run, Load(rate=0), before, after, 0)
    if spark.scored() - had != count:
        run.rejected = f"{spark.scored() - had} of {count} were scored"
    return run


# --- records per CPU second ---------------------------------------------------------------------

KINDS = {
    "map": "Spark, inputs of the reading, scikit-learn in mapInArrow",
    "ml": "Spark, inputs of the reading, Spark ML in the JVM",
    "windows": "Spark, inputs of windows too",
}
KINDEST = "map"


def sessions(
    stack: ExitStack, kafka: KafkaServer, options: Options, count: int
) -> dict[str, Callable[[], Run]]:
    """Spark's programs, warm; those that cannot run say so when they are called."""
    found: dict[str, Callable[[], Run]] = {}
    for kind in KINDS:
        name = f"spark-{kind}"
        try:
            spark = stack.enter_context(running(kafka, kind, PARTITIONS))
        except Unavailable as why:
            found[name] = partial(_raise, Unavailable(str(why)))
            continue
        began = time.monotonic()
        for _ in range(1 if options.quick else 2):
            run = score_all(spark, count)
        print(
            f"   {name}: warm after {time.monotonic() - began:.0f} s, {run.us_each:.1f} us each",
            flush=True,
        )
        found[name] = partial(score_all, spark, count)
    return found


def _raise(why: Exception) -> Run:
    raise why


def throughput(kafka: KafkaServer, options: Options) -> Result:
    load = Load(rate=options.rate, seconds=options.seconds)
    count = 30000 if options.quick else 1200000
    print(f"\n== beside Spark {spark_install.version()}, three models on every reading")
    with ExitStack() as stack:
        programs = sessions(stack, kafka, options, count)
        programs |= {
            kind.name: partial(measure, kafka, kind, load) for kind in (PackedScored, JsonScored)
        }
        found = interleave(programs, options.fewer().rounds, print)
    result = Result()
    of = "inputs of the reading only, in Python" if KINDEST == "map" else KINDS[KINDEST]
    for name, ours, peer, aim, what in (
        ("spark", "packed-scored", KINDEST, ">= 25", of),
        ("spark-json", "json-scored", KINDEST, ">= 15", of),
        ("spark-windows", "packed-scored", "windows", None, "the same work, windows too"),
        ("spark-json-windows", "json-scored", "windows", None, "the same work, windows too"),
    ):
        peer = f"spark-{peer}"
        text = f"{MAIN[ours]}: records per CPU second over those of Spark "
        text += f"{spark_install.version()}, {what}"
        if peer in found.missing:
            result.rows.append(missing_row(name, text, aim, found.missing[peer]))
            continue
        spread = found.compare(ours, peer, records_ratio)
        result.rows.append(row(name, text, spread, found.rejected(ours, peer), aim))
    names = {f"spark-{kind}": what for kind, what in KINDS.items()}
    names |= {name: MAIN[name] for name in ("packed-scored", "json-scored")}
    title = "Each reading scored by three models, beside Spark"
    below = (
        "Spark's threads: its processes. It takes all that it can get, penstockd what it is sent."
    )
    result.tables.append(programs_table(title, found, names, below))
    return result


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


MODES = {"spark-live": "live", "spark-continuous": "continuous"}
NAMES = {
    "scored-always": "penstockd as it comes, three models",
    "scored-lazy": "the same, journal lazy",
    "spark-live": "Spark in micro-batches, inputs of the reading",
    "spark-continuous": "Spark in continuous mode, inputs of the reading",
}


def score_paced(spark: Spark, mode: str, seconds: float, warm_s: float) -> Run:
    with consumer(spark.kafka, spark.sink) as watched:
        had = spark.scored()
        spark.order(mode, "started")
        try:
            time.sleep(3)  # until it reads from the topic's present end
            warm = int(LATENCY_RATE * warm_s)
            spark.produce(warm, LATENCY_RATE)
            arrived = _wait(spark, had + warm)
            os.kill(watched["pid"], signal.SIGUSR1)
            before, used_before = meter(spark)
            count = int(LATENCY_RATE * seconds)
            beside_s = machine.process_cpu_s(watched["pid"])
            spark.produce(count, LATENCY_RATE)
            arrived = _wait(spark, had + warm + count) and arrived
            after, used = meter(spark)
            beside_s = machine.process_cpu_s(watched["pid"]) - beside_s
        finally:
            spark.order("stop", "stopped")
    took = after.machine.time_s - before.machine.time_s
    run = Run(
        program=mode,
        readings=count,
        datagrams=count,
        cpu_s=after.program_s - before.program_s,
        seconds=took,
        load_cores=0,
        broker_cores=(after.broker_s - before.broker_s) / took,
        threads={name: s - used_before.get(name, 0) for name, s in used.items()},
        latency=watched,
    )
    run.rejected = judge(run, Load(rate=0), before, after, beside_s)
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
        warm_s = 2 if options.quick else LATENCY_WARM_UP_S
        for mode in MODES.values():
            score_paced(spark, mode, 2, warm_s)
        programs: dict[str, Callable[[], Run]] = {
            kind.name: partial(measure, kafka, kind, load, True) for kind in kinds
        }
        for name, mode in MODES.items():
            programs[name] = partial(score_paced, spark, mode, load.seconds, LATENCY_WARM_S)
        found = interleave(programs, options.rounds, print)
    p99 = {name: found.spread(name, p99_ms) for name in MODES}
    best = min(MODES, key=lambda n: p99[n].median if p99[n] else float("inf"))
    spread = found.compare("scored-always", best, lambda a, b: p99_ms(a) / p99_ms(b))
    rejected = found.rejected("scored-always", best)
    result = Result([row("spark-latency", text, spread, rejected, "<= 0.1")])
    title = f"Send to consumer, {LATENCY_RATE} readings/s scored by three models"
    result.tables.append(times_table(title, found, "total", NAMES))
    return result
