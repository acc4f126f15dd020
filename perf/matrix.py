"""How much one worker takes: sent to as fast as penstock-sim can, what was recorded in the time."""

import json
import subprocess
import time
from dataclasses import dataclass
from typing import Any

import machine
from options import Options
from places import BUILD, KafkaServer
from programs import LONG_WINDOW, WINDOW, Penstock
from results import Result, Table
from run import fresh_topic, started

INPUTS = {
    "binary, 1 reading": ("binary", 1),
    "binary, 16 readings": ("binary", 16),
    "json, 1 reading": ("json", 1),
}
OUTPUTS = {"off": "off", "file": "file", "Kafka json": "json", "Kafka packed": "packed"}
WINDOWS = {"1": (WINDOW,), "2": (WINDOW, LONG_WINDOW)}
SETTLE_S = 1.0
FLOOD_S = 3.0


def sim_command(form: str, readings: int, port: int) -> list[str]:
    """100 bytes for one binary reading."""
    return [
        str(BUILD / "firmware-sim" / "penstock-sim"),
        *("--target", f"127.0.0.1:{port}"),
        *("--format", form),
        *("--numbered" if form == "binary" else "--unnumbered",),
        *("--fields", "temperature,humidity,voltage,light"),
        *("--tags", "firmware=2.14.0+build.20240611.a1b2c3"),
        *("--sensors", "1000"),
        *("--id-prefix", "sensor-", "--id-width", "10"),
        *("--readings-per-datagram", str(readings)),
        *("--rate", "max", "--seconds", str(SETTLE_S + FLOOD_S + 1)),
        *("--quiet", "--json"),
    ]


@dataclass
class Cell:
    recorded_per_s: float
    delivered_per_s: float
    worker_us: float  # CPU of the worker's thread a reading
    dropped: bool  # more was sent than taken: the generator was not the limit

    def text(self, outputs: bool) -> str:
        sign = "" if self.dropped else ">= "
        text = f"{sign}{self.recorded_per_s / 1e3:,.0f}k"
        if outputs:
            text += f", out {self.delivered_per_s / 1e3:,.0f}k"
        return text + f" ({self.worker_us:.2f} us)"


@dataclass
class Sample:
    at_s: float
    recorded: int
    delivered: int
    lost: int
    worker_s: float

    @classmethod
    def of(cls, program: Penstock) -> "Sample":
        ledger: dict[str, Any] = program.ask("/ledger")
        at_s = time.monotonic()
        delivered = sum(out["delivered"] for out in ledger["outputs"])
        lost = ledger["lost_before_us"]["socket"] + ledger["readings"]["dropped"]["total"]
        worker_s = machine.thread_cpu_s(program.pid)["worker-0"]
        return cls(at_s, ledger["readings"]["recorded"], delivered, lost, worker_s)


def flood(kafka: KafkaServer, form: str, readings: int, output: str, windows: str) -> Cell:
    program = Penstock(kafka, fresh_topic())
    program.form, program.output, program.windows = form, output, WINDOWS[windows]
    with started(program):
        command = sim_command(form, readings, program.port)
        sim = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        time.sleep(SETTLE_S)
        a = Sample.of(program)
        time.sleep(FLOOD_S)
        b = Sample.of(program)
        given, _ = sim.communicate(timeout=60)
        json.loads(given)  # it ran to its end
    took = b.at_s - a.at_s
    readings_taken = b.recorded - a.recorded
    return Cell(
        readings_taken / took,
        (b.delivered - a.delivered) / took,
        (b.worker_s - a.worker_s) / max(1, readings_taken) * 1e6,
        b.lost > a.lost,
    )


def matrix(kafka: KafkaServer, options: Options) -> Result:
    print("\n== one worker, sent to without pause")
    table = Table(
        "Readings a second through one worker",
        ["input", "windows", *(f"output {name}" for name in OUTPUTS)],
        [],
        "Recorded a second while penstock-sim sends as fast as it can from the other core,"
        " delivered by the output in the same time, CPU of the worker's thread a reading. Outputs"
        " and broker share the two cores with worker and generator: what an output is behind waits"
        ' in the journal. ">=": nothing was lost, the generator was the limit.',
    )
    for what, (form, readings) in INPUTS.items():
        for windows in WINDOWS if not options.quick else ["1"]:
            line = [what, windows]
            for output in OUTPUTS.values():
                cell = flood(kafka, form, readings, output, windows)
                line.append(cell.text(output != "off"))
                print(f"   {what}, {windows} window(s), {output}: {line[-1]}", flush=True)
            table.lines.append(line)
    return Result([], [table])
