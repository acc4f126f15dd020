#!/usr/bin/env python3
"""
./dev demo: penstockd, driven for a minute by simulated devices that replay real sensor data.

Shows what happens while it happens and ends with a summary; exit status 1 when the ledger does not
balance, 130 when it was broken off. State and logs are left in build/demo.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from scores import Judged, judge  # noqa: E402
from summary import Outcome, ReadBack, read_files, read_messages, tell  # noqa: E402
from view import Sample, Terminal, View  # noqa: E402
from world import (  # noqa: E402
    JUDGED,
    ROOT,
    Alerts,
    Appliance,
    Failed,
    Fleet,
    Troublemaker,
    cpu_seconds,
    fleets,
    held_out,
)

if TYPE_CHECKING:
    from kafka import KafkaServer

Json = dict[str, Any]
CREDIT = (
    "Data: Suthaharan et al. 2010, labelled wireless sensor data, CC BY 4.0 (firmware-sim/data)"
)
TOPICS = ("sensor-readings", "sensor-windows", "sensor-alerts")
LOOK_S = 0.5


class Interrupted(Exception):
    """Ctrl-C, once: the devices end early and the summary tells what there was."""


def build_dir() -> Path:
    build = ROOT / os.environ.get("PENSTOCK_BUILD", "build")
    for program in ("control/penstockd", "firmware-sim/penstock-sim"):
        if not (build / program).exists():
            raise Failed(f"{build / program} is not there: ./dev build")
    return build


def start_kafka(folder: Path) -> "KafkaServer":
    """A real broker; what starts it for the system tests does so here."""
    import shutil

    sys.path.insert(0, str(ROOT / "tests" / "system"))
    import kafka

    shutil.rmtree(folder, ignore_errors=True)
    server = kafka.KafkaServer(folder)
    server.start()
    for topic in TOPICS:
        server.create_topic(topic, 3)
    return server


class Demo:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.terminal = Terminal()
        self.build = build_dir()
        self.folder = self.build / "demo"
        self.kafka: KafkaServer | None = None
        self.appliance: Appliance | None = None
        self.fleets: list[Fleet] = []
        self.interrupts = 0
        self.ending = False

    # ---- signals ----

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """The first is asked about between two frames; a second one ends everything."""
        self.interrupts += 1
        if self.interrupts > 1 or number == signal.SIGTERM:
            raise KeyboardInterrupt

    # ---- the run ----

    def run(self) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.options.kafka:
            self.say("starting Apache Kafka")
            self.kafka = start_kafka(self.folder / "kafka")
        brokers = self.kafka.bootstrap if self.kafka else None
        self.appliance = Appliance(self.build, self.folder / "state", brokers)
        self.say("starting penstockd")
        self.appliance.start()
        data = self.options.data or held_out(self.folder / "held-out")
        self.fleets = fleets(self.appliance, data, self.labels, self.options.seconds)
        if self.kafka:  # the measured way is the whole way
            where = f"kafka:{self.kafka.bootstrap}/sensor-readings"
            args = self.fleets[0].args
            args[args.index("--verify") + 1] = where
        return self.drive(self.appliance)

    def say(self, what: str) -> None:
        print(f" {self.terminal.dim(what)}", flush=True)

    def introduce(self) -> None:
        t = self.terminal
        print(f"\n {t.bold('Devices')}  simulated firmware that replays recorded signals")
        for fleet in self.fleets:
            print(f"   {fleet.count:>4} {fleet.name:<8}{t.dim(fleet.what)}")
        print(f"      4 {'gate':<8}{t.dim('JSON, wrong clocks; and a sender of broken datagrams')}")
        print(f" {t.dim(self.credit)}\n", flush=True)

    @property
    def credit(self) -> str:
        return f"Data: {self.options.data}" if self.options.data else CREDIT

    @property
    def labels(self) -> Path:
        return self.folder / "labels.csv"

    def judged(self, appliance: Appliance) -> Judged:
        return judge(appliance.records_path, self.labels, JUDGED)

    @property
    def devices(self) -> int:
        return sum(f.count for f in self.fleets) + 4

    def drive(self, appliance: Appliance) -> bool:
        assert appliance.process is not None
        pid = appliance.process.pid
        self.introduce()
        alerts, trouble = Alerts(appliance), Troublemaker(appliance)
        alerts.start()
        view = View(self.terminal, f"Penstock demo · {self.devices} devices", self.options.seconds)
        if not self.terminal.unicode:
            view.title = view.title.replace("·", "-")
        began = time.monotonic()
        for fleet in self.fleets:
            fleet.start(self.build, self.folder)
        trouble.start()
        self.terminal.begin()
        try:
            self.watch(appliance, view, alerts, trouble)
        finally:
            self.terminal.end()
        seconds = time.monotonic() - began
        ledger = appliance.settled()
        cpu_s, resident = cpu_seconds(pid), resident_bytes(pid)
        back = self.read_back(appliance)
        status = appliance.stop()
        outcome = Outcome(
            seconds=min(seconds, self.options.seconds) if not self.interrupts else seconds,
            devices=self.devices,
            credit=self.credit,
            fleets=[f.result for f in self.fleets],
            extra_readings=trouble.readings,
            extra_twice=trouble.twice,
            extra_broken=trouble.broken,
            ledger=ledger,
            peak=max(view.rates.history, default=0),
            cpu_s=cpu_s,
            resident_bytes=resident,
            latency_of=self.fleets[0].result,
            latency_to="to a Kafka consumer" if self.kafka else "in the output file",
            back=back,
            judged=self.judged(appliance),
            unseen=self.options.data is None,
            status=status,
        )
        return tell(outcome, self.terminal)

    def watch(
        self, appliance: Appliance, view: View, alerts: Alerts, trouble: Troublemaker
    ) -> None:
        """Until all devices have ended, which Ctrl-C makes them do early."""
        assert appliance.process is not None
        told = False
        while True:
            due = time.monotonic() + LOOK_S
            running = any(f.running for f in self.fleets)
            if (self.interrupts or not self.fleets[0].running) and not told:
                told = True
                trouble.finish()
                for fleet in self.fleets:
                    fleet.end_early()
            if appliance.process.poll() is not None:
                raise Failed(f"penstockd ended by itself:\n{appliance.log_tail()}")
            sample = Sample(
                appliance.ask("/ledger"),
                appliance.ask("/status"),
                cpu_seconds(appliance.process.pid),
            )
            view.show(sample, alerts.latest)
            if not running:
                break
            time.sleep(max(0, due - time.monotonic()))
        for fleet in self.fleets:
            fleet.finish()

    def read_back(self, appliance: Appliance) -> list[ReadBack]:
        """Kafka first: windows go on closing meanwhile, and the file must have them all."""
        messages: list[bytes | None] = []
        if self.kafka:
            messages = [m.value for topic in TOPICS for m in self.kafka.read_all(topic)]
        back = [read_files(appliance.records_path)]
        if self.kafka:
            back.append(read_messages("Kafka", messages))
        return back

    def clean_up(self) -> None:
        for fleet in self.fleets:
            fleet.kill()
        if self.appliance:
            self.appliance.kill()
        if self.kafka:
            self.kafka.stop()


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    return 0


def parse(args: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev demo", description="A minute of Penstock.")
    parser.add_argument("--kafka", action="store_true", help="through a real Apache Kafka")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="sensor data to replay (firmware-sim/data/README.md: forms) instead of the shipped "
        "recordings that no model has learned from",
    )
    parser.add_argument("--seconds", type=float, default=60, metavar="N", help="60 by default")
    options = parser.parse_args(args)
    if not 5 <= options.seconds <= 86400:
        parser.error("--seconds takes 5 to 86400")
    if options.data and not options.data.is_dir():
        parser.error(f"--data: {options.data} is no folder")
    return options


def main(args: list[str]) -> int:
    options = parse(args)
    demo = None
    try:
        demo = Demo(options)
        signal.signal(signal.SIGINT, demo.interrupt)
        signal.signal(signal.SIGTERM, demo.interrupt)
        good = demo.run()
        return 130 if demo.interrupts else 0 if good else 1
    except KeyboardInterrupt:
        print("\n broken off", file=sys.stderr)
        return 130
    except (Failed, RuntimeError, OSError) as why:
        print(f"\ndemo: {why}", file=sys.stderr)
        return 1
    finally:
        if demo:
            demo.clean_up()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
