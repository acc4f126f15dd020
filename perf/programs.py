"""What is measured: the peers, Telegraf, penstockd. Each takes datagrams and feeds one topic."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import machine
import telegraf
from places import BUILD, ROOT, WORK, KafkaServer

PARTITIONS = 1
RECEIVE_BUFFER_BYTES = 8 << 20  # of every program's socket, as the kernel counts it


class Outcome(TypedDict):
    """What a program says of itself since it started."""

    lost: dict[str, int]  # datagrams that it got no hold of, or dropped, by reason
    recorded: int  # readings taken over; those with a message each: messages
    delivered: int  # of them acknowledged by the broker
    waited: NotRequired[dict[str, int]]  # percentiles, us; where the program is asked to look


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Program:
    """One process from start() to stop(); its folder goes with it."""

    name = ""
    form = "binary"  # of the datagrams that it takes
    readings = 1  # in each of them
    topic_settings: dict[str, str] = {}

    def __init__(self, kafka: KafkaServer | None, topic: str) -> None:
        self.kafka = kafka
        self.topic = topic
        self.port = free_udp_port()
        self.process: subprocess.Popen[str] | None = None
        WORK.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(dir=WORK, prefix=f"{self.name}-"))

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def command(self) -> list[str]:
        raise NotImplementedError

    def topics(self) -> list[str]:
        return [self.topic]

    def start(self, timeout_s: float = 30) -> None:
        command = self.command()
        for topic in self.topics():
            assert self.kafka is not None
            self.kafka.create_topic(topic, PARTITIONS, **self.topic_settings)
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
            )
        deadline = time.monotonic() + timeout_s
        while not machine.udp_port_bound(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start: {self.log()}")
            time.sleep(0.02)

    def log(self) -> str:
        return (self.folder / "log").read_text()[-2000:].strip()

    def delivered(self) -> int:
        """Readings that the broker has acknowledged; asking costs the program next to nothing."""
        assert self.kafka is not None
        return sum(self.kafka.end_offsets(self.topic).values())

    def warmed_up(self) -> None:
        """The load that counts begins."""

    def outcome(self, given: str) -> Outcome:
        """From what the program printed before it ended."""
        raise NotImplementedError

    def stop(self) -> Outcome:
        assert self.process is not None
        self.process.terminate()
        given, _ = self.process.communicate(timeout=60)
        return self.outcome(given)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        if self.process is not None:
            for topic in self.topics():
                assert self.kafka is not None
                self.kafka.delete_topic(topic)
        shutil.rmtree(self.folder, ignore_errors=True)


class Peer(Program):
    """perf/peers/NAME.c."""

    properties: tuple[str, ...] = ()
    executable = ""  # where it is not the name
    timed = False

    def delivered(self) -> int:
        return super().delivered() * self.readings

    def warmed_up(self) -> None:
        os.kill(self.pid, signal.SIGUSR1)

    def command(self) -> list[str]:
        assert self.kafka is not None
        path = BUILD / "perf" / f"peer_{self.executable or self.name}"
        timed = ["timed"] if self.timed else []
        where = [str(self.port), self.kafka.bootstrap, self.topic]
        return [str(path), *where, *timed, *self.properties]

    def outcome(self, given: str) -> Outcome:
        said = json.loads(given.splitlines()[-1])
        return Outcome(
            lost={k: said[k] for k in ("dropped", "failed") if said[k]},
            recorded=said["received"],
            delivered=said["delivered"],
            waited=said["waited"],
        )


class Naive(Peer):
    name = "naive"


class NaiveTimed(Naive):
    """Looks at the clock for each datagram; its CPU is not compared."""

    name = "naive-timed"
    executable = "naive"
    timed = True


class Good(Peer):
    name = "good"


class GoodFast(Good):
    """For latency, where a good program would not wait longer than ours."""

    properties = ("linger.ms=1",)


class Telegraf(Program):
    """Telegraf's own agent with three plugins (perf/peers/telegraf), built once per version."""

    name = "telegraf"
    form = "influx"

    def command(self) -> list[str]:
        assert self.kafka is not None
        config = self.folder / "telegraf.conf"
        config.write_text(
            (ROOT / "perf" / "peers" / "telegraf" / "telegraf.conf")
            .read_text()
            .replace("@PORT@", str(self.port))
            .replace("@BROKERS@", self.kafka.bootstrap)
            .replace("@TOPIC@", self.topic)
            .replace("@BUFFER@", str(RECEIVE_BUFFER_BYTES // 2))
        )
        return [str(telegraf.program()), str(config)]

    def outcome(self, given: str) -> Outcome:
        delivered = self.delivered()
        return Outcome(lost={}, recorded=delivered, delivered=delivered)


FIELDS: list[dict[str, Any]] = [
    {"name": "temperature", "unit": "°C", "min": -40, "max": 85},
    {"name": "humidity", "unit": "%", "min": 0, "max": 100},
    {"name": "voltage", "unit": "V", "min": 0, "max": 5},
    {"name": "light", "unit": "lx", "min": 0, "max": 100000},
]
WINDOW = {"size": "30s", "slide": "10s"}
LONG_WINDOW = {"size": "5m", "slide": "1m"}
MODELS = ROOT / "deploy" / "models" / "sensors"  # of the profile sensors


class Penstock(Program):
    """One worker; four fields, one 30 s/10 s window, journal in `lazy`, unless said otherwise."""

    name = "penstock"
    output = "packed"  # packed, json, file or off
    sync = "lazy"
    gather = "5ms"  # most that a record waits for its block; librdkafka's linger in the peers
    linger = ""  # of the output; "", here and above: as the product comes
    windows: tuple[dict[str, str], ...] = (WINDOW,)
    models: tuple[str, ...] = ()  # by their bundles' names
    streams = 1

    def __init__(self, kafka: KafkaServer | None, topic: str) -> None:
        super().__init__(kafka, topic)
        self.socket = str(self.folder / "api.sock")

    def topics(self) -> list[str]:
        if self.output == "packed":
            return [self.topic]
        return [self.topic, f"{self.topic}-windows"] if self.output == "json" else []

    def _output(self) -> list[dict[str, Any]]:
        if self.output == "off":
            return []
        if self.output == "file":
            path = str(self.folder / "records.jsonl")
            return [{"name": "file", "type": "file", "path": path}]
        assert self.kafka is not None
        kafka: dict[str, Any] = {
            "name": "kafka",
            "type": "kafka",
            "brokers": self.kafka.bootstrap,
            "format": self.output,
        }
        if self.output == "packed":
            kafka["topic"] = self.topic
        else:
            kafka["topics"] = {"readings": self.topic, "windows": f"{self.topic}-windows"}
        return [kafka | ({"linger": self.linger} if self.linger else {})]

    def config(self) -> dict[str, Any]:
        streams = [
            {
                "name": f"sensors-{i + 1}" if i else "sensors",
                "number": i + 1,
                "fields": FIELDS,
                "tags": ["firmware"],
                "lateness": "1s",
                "windows": list(self.windows),
                "models": [{"name": m, "file": str(MODELS / f"{m}.psm")} for m in self.models],
            }
            for i in range(self.streams)
        ]
        journal = {"dir": str(self.folder / "state"), "sync": self.sync}
        journal |= {"linger": self.gather} if self.gather else {}
        one = {"name": "udp", "format": self.form, "listen": f"127.0.0.1:{self.port}"}
        one |= {"receive_buffer": RECEIVE_BUFFER_BYTES}
        one |= {"stream": "sensors"} if self.form == "json" else {}
        return {
            "name": "bench",
            "workers": 1,
            "streams": streams,
            "inputs": [one],
            "journal": journal,
            "outputs": self._output(),
            "api": {"socket": self.socket},
        }

    def command(self) -> list[str]:
        path = self.folder / "penstock.yaml"
        path.write_text(json.dumps(self.config(), indent=2))  # JSON is YAML
        return [str(BUILD / "control" / "penstockd"), str(path)]

    def ask(self, path: str) -> Any:  # noqa: ANN401 - whatever the answer holds
        """GET on the daemon's socket."""
        connection = http.client.HTTPConnection("localhost", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(20)
        connection.sock.connect(self.socket)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def start(self, timeout_s: float = 30) -> None:
        super().start(timeout_s)
        deadline = time.monotonic() + timeout_s
        while not os.path.exists(self.socket):
            if time.monotonic() > deadline:
                raise RuntimeError(f"no API: {self.log()}")
            time.sleep(0.02)

    def delivered(self) -> int:
        """Readings recorded once all of them have been delivered, until then one less."""
        ledger = self.ask("/ledger")
        recorded = ledger["readings"]["recorded"]
        outputs = ledger["outputs"]
        done = ledger["settled"] and all(out["spooled"] == 0 for out in outputs)
        return recorded if done else recorded - 1

    def stop(self) -> Outcome:
        ledger = self.ask("/ledger")
        super().stop()
        assert self.process is not None
        if self.process.returncode != 0 or not ledger["balanced"]:
            raise RuntimeError(f"penstockd ended with {self.process.returncode}: {self.log()}")
        readings, before_us = ledger["readings"], ledger["lost_before_us"]
        counts = {"socket": before_us["socket"], "sender": before_us["sender"]}
        counts |= {"duplicate": readings["duplicate"]}
        for group in (readings["dropped"], ledger["datagrams"]["rejected"]):
            counts |= {name: n for name, n in group.items() if name != "total"}
        return Outcome(
            lost={name: n for name, n in counts.items() if n},
            recorded=readings["recorded"],
            delivered=readings["recorded"],
        )

    def outcome(self, given: str) -> Outcome:
        return Outcome(lost={}, recorded=0, delivered=0)
