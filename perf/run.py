"""One run: a program, a load, what both cost until the last reading was delivered."""

import itertools
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import machine
from places import BUILD, KafkaServer
from programs import Program

WARM_UP_S = 1.5
DELIVERY_TIMEOUT_S = 20.0
# Beyond these a run tells more of the machine than of the program.
OTHERS_CORES_MAX = 0.25
STEAL_CORES_MAX = 0.4
SHORTFALL_MAX = 0.01

_serial = itertools.count(1)


@dataclass(frozen=True)
class Load:
    rate: int = 60000  # datagrams a second; 0: as fast as it goes
    seconds: float = 10
    readings: int = 1  # a datagram
    sensors: int = 1000
    streams: int = 1
    tick_us: int = 0  # 0: each datagram in its time; else bursts

    def command(self, program: Program, seconds: float) -> list[str]:
        return [
            str(BUILD / "perf" / "penstock-load"),
            str(program.port),
            f"form={program.form}",
            f"readings={self.readings}",
            f"sensors={self.sensors}",
            f"streams={self.streams}",
            f"rate={self.rate}",
            f"seconds={seconds}",
            f"tick_us={self.tick_us}",
        ]

    def send(self, program: Program, seconds: float) -> dict[str, Any]:
        done = subprocess.run(self.command(program, seconds), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"penstock-load: {done.stderr}")
        return json.loads(done.stdout)


@dataclass
class Run:
    program: str
    readings: int  # sent and delivered
    datagrams: int
    cpu_s: float
    seconds: float
    load_cores: float  # what the generator took, in cores
    broker_cores: float
    threads: dict[str, float] = field(default_factory=dict)  # CPU seconds
    latency: dict[str, Any] = field(default_factory=dict)
    rejected: str = ""  # why, when it does not count

    @property
    def per_cpu_s(self) -> float:
        return self.readings / self.cpu_s

    @property
    def us_each(self) -> float:
        return self.cpu_s / self.readings * 1e6


def wait_delivered(program: Program, readings: int) -> bool:
    """The questions cost the program little; they come after the load, 20 a second."""
    deadline = time.monotonic() + DELIVERY_TIMEOUT_S
    while program.delivered() < readings:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def consumer(kafka: KafkaServer, topic: str) -> Iterator[dict[str, Any]]:
    """penstock-latency on the topic; its result lies in what is yielded once the context ends."""
    command = [str(BUILD / "perf" / "penstock-latency"), kafka.bootstrap, topic]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = {"pid": process.pid}
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("penstock-latency did not get ready")
        yield found
        found["cpu_s"] = machine.process_cpu_s(process.pid)
        process.send_signal(signal.SIGTERM)
        given, _ = process.communicate(timeout=30)
        found |= json.loads(given)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@contextmanager
def started(program: Program) -> Iterator[Program]:
    try:
        program.start()
        yield program
    finally:
        program.close()


@dataclass
class Meter:
    """What everybody has used so far."""

    machine: machine.Instant
    program_s: float
    threads: dict[str, float]
    broker_s: float
    harness_s: float

    @classmethod
    def read(cls, program: Program) -> "Meter":
        assert program.kafka is None or program.kafka.process is not None
        broker = program.kafka.process.pid if program.kafka and program.kafka.process else None
        times = os.times()
        return cls(
            machine.Instant.now(),
            machine.process_cpu_s(program.pid),
            machine.thread_cpu_s(program.pid),
            machine.process_cpu_s(broker) if broker else 0,
            times.user + times.system + times.children_user + times.children_system,
        )


def judge(run: Run, load: Load, before: Meter, after: Meter, beside_s: float) -> str:
    """Why the run does not count; "" when it does. beside_s: CPU of helpers that still run."""
    took = after.machine.time_s - before.machine.time_s
    known = run.cpu_s + (after.broker_s - before.broker_s) + beside_s
    known += after.harness_s - before.harness_s  # the load is one of its children
    others = (after.machine.busy_s - before.machine.busy_s - known) / took
    steal = (after.machine.steal_s - before.machine.steal_s) / took
    if load.rate and run.seconds > load.seconds * (1 + SHORTFALL_MAX):
        return f"the generator fell short: {run.datagrams / run.seconds:.0f}/s"
    if steal > STEAL_CORES_MAX:
        return f"steal of {steal:.2f} cores"
    if others > OTHERS_CORES_MAX:
        return f"other processes took {others:.2f} cores"
    return ""


def summed(program: Program, sent: list[dict[str, Any]], before: Meter, after: Meter) -> Run:
    took = after.machine.time_s - before.machine.time_s
    seconds = sum(one["seconds"] for one in sent)
    return Run(
        program=program.name,
        readings=sum(one["readings"] for one in sent),
        datagrams=sum(one["sent"] for one in sent),
        cpu_s=after.program_s - before.program_s,
        seconds=seconds,
        load_cores=sum(one["cpu_s"] for one in sent) / seconds,
        broker_cores=(after.broker_s - before.broker_s) / took,
        threads={k: v - before.threads.get(k, 0) for k, v in after.threads.items()},
    )


def note_losses(run: Run, program: Program) -> None:
    """Ends the program."""
    outcome = program.stop()
    run.latency.setdefault("waited", outcome.get("waited", {}))
    lost = outcome["lost"]
    if lost:
        run.rejected = "lost: " + ", ".join(f"{n} {why}" for why, n in lost.items())


def measure_started(program: Program, load: Load, watched: dict[str, Any] | None) -> Run:
    warm = load.send(program, WARM_UP_S)
    arrived = wait_delivered(program, warm["readings"])
    if watched:
        os.kill(watched["pid"], signal.SIGUSR1)
    program.warmed_up()
    before = Meter.read(program)
    watched_before = machine.process_cpu_s(watched["pid"]) if watched else 0
    sent = load.send(program, load.seconds)
    arrived = arrived and wait_delivered(program, warm["readings"] + sent["readings"])
    after = Meter.read(program)
    watched_s = machine.process_cpu_s(watched["pid"]) - watched_before if watched else 0
    run = summed(program, [sent], before, after)
    run.rejected = judge(run, load, before, after, watched_s)
    if not arrived:
        run.rejected = "not all was delivered"
    return run


def measure_in_turn(
    kafka: KafkaServer, kinds: list[type[Program]], load: Load, slices: int
) -> dict[str, Run]:
    """All of them up at once, a slice of the load for each in turn: what the machine does besides
    in these seconds falls on all alike. A consumer reads beside each."""
    order = random.Random(slices)
    with ExitStack() as stack:
        programs: list[Program] = []
        watched: dict[str, dict[str, Any]] = {}
        for kind in kinds:
            program = stack.enter_context(started(kind(kafka, fresh_topic())))
            watched[program.name] = stack.enter_context(consumer(kafka, program.topic))
            programs.append(program)
        due = {p.name: load.send(p, WARM_UP_S)["readings"] for p in programs}
        arrived = all([wait_delivered(p, due[p.name]) for p in programs])
        for p in programs:
            os.kill(watched[p.name]["pid"], signal.SIGUSR1)
            p.warmed_up()
        sent: dict[str, list[dict[str, Any]]] = {p.name: [] for p in programs}
        before = {p.name: Meter.read(p) for p in programs}
        beside = {n: machine.process_cpu_s(w["pid"]) for n, w in watched.items()}
        for _ in range(slices):
            for p in order.sample(programs, len(programs)):
                sent[p.name].append(load.send(p, load.seconds / slices))
                due[p.name] += sent[p.name][-1]["readings"]
                arrived = wait_delivered(p, due[p.name]) and arrived
        after = {p.name: Meter.read(p) for p in programs}
        beside_s = sum(machine.process_cpu_s(w["pid"]) - beside[n] for n, w in watched.items())
        all_s = sum(after[n].program_s - before[n].program_s for n in sent)
        runs: dict[str, Run] = {}
        for p in programs:
            runs[p.name] = summed(p, sent[p.name], before[p.name], after[p.name])
            known_s = beside_s + all_s - runs[p.name].cpu_s
            runs[p.name].rejected = judge(
                runs[p.name], load, before[p.name], after[p.name], known_s
            )
            if not arrived:
                runs[p.name].rejected = "not all was delivered"
            note_losses(runs[p.name], p)
    for name, run in runs.items():
        run.latency |= watched[name]
    return runs


def fresh_topic() -> str:
    return f"bench-{next(_serial)}"


def measure(kafka: KafkaServer, kind: type[Program], load: Load, latency: bool = False) -> Run:
    """A fresh process, a fresh topic, a warm-up, the load, an orderly end."""
    program = kind(kafka, fresh_topic())
    program.readings = load.readings
    with started(program):
        if latency:
            with consumer(kafka, program.topic) as watched:
                run = measure_started(program, load, watched)
            run.latency = watched
        else:
            run = measure_started(program, load, None)
        note_losses(run, program)
    return run
