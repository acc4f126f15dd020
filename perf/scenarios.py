"""The five scenarios of the reference load test, run by penstock-sim through real Kafka."""

import json
import subprocess
from typing import Any

import machine
from options import Options
from places import BUILD, KafkaServer
from programs import Penstock
from results import Result, Table
from run import fresh_topic, started

REFERENCE = {
    "burst": ("1,100", "3.42"),
    "high-volume": ("1,682", "4.59"),
    "stress": ("2,267", "6.90"),
    "sustained": ("81", "2.15"),
    "custom": ("2,429", "7.25"),
}


class Served(Penstock):
    """As a user would run it: JSON in, JSON out, defaults, journal `always`."""

    name = "scenario"
    form = "json"
    output = "json"
    sync = "always"
    gather = linger = ""
    topic_settings = {"message.timestamp.type": "LogAppendTime"}  # when the broker took it

    def config(self) -> dict[str, Any]:
        config = super().config()
        del config["streams"][0]["tags"], config["streams"][0]["lateness"]
        del config["inputs"][0]["receive_buffer"], config["workers"]
        return config


def scenario(kafka: KafkaServer, name: str) -> dict[str, Any]:
    program = Served(kafka, fresh_topic())
    with started(program):
        command = [
            str(BUILD / "firmware-sim" / "penstock-sim"),
            *("--target", f"127.0.0.1:{program.port}"),
            *("--verify", f"kafka:{kafka.bootstrap}/{program.topic}"),
            *("--pid", str(program.pid), "--quiet", "--json", name),
        ]
        before = machine.process_cpu_s(program.pid)
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        if not done.stdout:
            raise RuntimeError(f"penstock-sim {name}: {done.stderr}")
        cpu_s = machine.process_cpu_s(program.pid) - before
        program.stop()
    return json.loads(done.stdout) | {"cpu_s": cpu_s}


def through_s(got: dict[str, Any]) -> float:
    """From the first message sent until the last could be read."""
    return got["seconds"] + got["verify"]["read_ms"]["max"] / 1e3


def scenarios(kafka: KafkaServer, options: Options) -> Result:
    print("\n== the five load scenarios")
    head = ["scenario", "sent/s", "through/s", "reference/s", "to broker p50 / p99, ms"]
    head += ["to consumer p50 / p99, ms", "reference, ms"]
    head += ["success", "messages/s for 1 % CPU"]
    table = Table("The load scenarios", head, [], below="")
    for name, (rate, latency) in REFERENCE.items():
        if options.quick and name in ("sustained", "custom"):
            continue
        got = scenario(kafka, name)
        read, broker = got["verify"]["read_ms"], got["verify"]["broker_ms"]
        table.lines.append(
            [
                name,
                f"{got['rate']:,.0f}",
                f"{got['messages'] / through_s(got):,.0f}",
                rate,
                f"{broker['p50']:.0f} / {broker['p99']:.0f}",
                f"{read['p50']:.2f} / {read['p99']:.2f}",
                latency,
                f"{got['verify']['success']:.2%}",
                f"{got['messages'] / got['cpu_s'] / 100:,.0f}",
            ]
        )
        print(f"   {' | '.join(table.lines[-1])}", flush=True)
    table.below = (
        "One JSON datagram a message, one Kafka record each, journal `always`; the reference's"
        " figures are those published with it, from its own machine: beside ours, not a ratio."
        " Four of the scenarios send 20,000 messages/s here: UDP has no answer to wait for."
        " through/s: until the last could be read. To broker: until it had put the message into"
        " its log, in whole ms. CPU is that of all of penstockd's threads."
    )
    return Result([], [table])
