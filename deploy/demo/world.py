"""What the demo runs and asks: the daemon, the simulated devices, a few senders that misbehave."""

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
PROFILE = ROOT / "deploy" / "profiles" / "sensors.yaml"
SPLIT = ROOT / "deploy" / "models" / "sensors" / "split.json"
Json = dict[str, Any]

# Kernels take 108 bytes of a Unix socket's path, and clones may lie deep.
SOCKET_PATH_MAX = 100


class Failed(Exception):
    """The demo cannot go on; the text says why and what helps."""


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("penstock", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def cpu_seconds(pid: int) -> float:
    """Of a process so far; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Appliance:
    """penstockd on an empty state directory, its environment, its API."""

    def __init__(self, build: Path, state: Path, brokers: str | None) -> None:
        self.build = build
        self.state = state
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir(parents=True)
        self.socket_folder: str | None = None
        self.socket_path = str(state / "api.sock")
        if len(self.socket_path.encode()) > SOCKET_PATH_MAX:
            self.socket_folder = tempfile.mkdtemp(prefix="penstock-")
            self.socket_path = f"{self.socket_folder}/api.sock"
        self.binary_port, self.json_port = free_udp_port(), free_udp_port()
        self.records_path = state / "records.jsonl"
        self.log_path = state / "penstockd.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.env = {
            "PENSTOCK_NAME": "demo",
            "PENSTOCK_STATE": str(state),
            "PENSTOCK_SOCKET": self.socket_path,
            "PENSTOCK_BINARY": f"127.0.0.1:{self.binary_port}",
            "PENSTOCK_JSON": f"127.0.0.1:{self.json_port}",
            "PENSTOCK_PERIOD": "2s",
            "PENSTOCK_ATTRIBUTES": str(PROFILE.parent / "sensors.csv"),
            "PENSTOCK_KAFKA": "true" if brokers else "false",
            "KAFKA_BROKERS": brokers or "",
        }

    def start(self) -> None:
        command = [str(self.build / "control" / "penstockd"), str(PROFILE)]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.env},
                start_new_session=True,  # Ctrl-C is for the demo, which then stops it in order
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.ask("/status")
                return
            time.sleep(0.05)
        raise Failed(f"penstockd does not start; it says:\n{self.log_tail()}")

    def log_tail(self) -> str:
        return self.log_path.read_text(errors="replace")[-3000:]

    def ask(self, path: str) -> Json:
        connection = UnixConnection(self.socket_path, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise http.client.HTTPException(f"{path}: {answer.status} {body.decode()}")
        return json.loads(body)

    def settled(self, timeout_s: float = 30) -> Json:
        """The ledger once nothing is in flight and every output has had everything."""
        deadline = time.monotonic() + timeout_s
        while True:
            ledger = self.ask("/ledger")
            waiting = sum(o["spooled"] for o in ledger["outputs"])
            if (ledger["settled"] and not waiting) or time.monotonic() > deadline:
                return ledger
            time.sleep(0.1)

    def stop(self) -> int:
        """Exit status of an orderly end."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(30)
        finally:
            self.kill()

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None
        if self.socket_folder:
            shutil.rmtree(self.socket_folder, ignore_errors=True)


class Alerts(threading.Thread):
    """The latest alert records, as `penstock tail --kind alert` would show them."""

    def __init__(self, appliance: Appliance) -> None:
        super().__init__(daemon=True)
        self.appliance = appliance
        self.latest: deque[Json] = deque(maxlen=8)

    def run(self) -> None:
        connection = UnixConnection(self.appliance.socket_path, timeout=None)
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            connection.request("GET", "/tail?kind=alert")
            for line in connection.getresponse():
                if line.strip():
                    record = json.loads(line)
                    if record["kind"] == "alert":
                        self.latest.append(record)


class Fleet:
    """One run of penstock-sim."""

    def __init__(self, name: str, what: str, count: int, args: list[str]) -> None:
        self.name, self.what, self.count, self.args = name, what, count, args
        self.process: subprocess.Popen[str] | None = None
        self.result: Json = {}

    def start(self, build: Path, folder: Path) -> None:
        command = [str(build / "firmware-sim" / "penstock-sim"), "--json", *self.args]
        with (folder / f"{self.name}.log").open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def end_early(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def finish(self) -> None:
        """Status 1 says that readings are missing, which the summary shows; others are ours."""
        if self.process is None:
            return
        out, _ = self.process.communicate(timeout=60)
        if self.process.returncode not in (0, 1) or not out.strip():
            raise Failed(f"penstock-sim of {self.name} ended with {self.process.returncode}")
        self.result = json.loads(out)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def held_out(folder: Path) -> Path:
    """A folder with those of the shipped recordings that no model has learned from."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for part in json.loads(SPLIT.read_text())["demo"]["may_stream"]:
        path = ROOT / part["file"]
        (folder / path.name).symlink_to(path)
    return folder


# The fleet whose truth is known; its clocks run so many times as fast, that is a reading each five
# seconds, as the recordings have it.
JUDGED = "site-"
LAPSE = 20
# By its sensors. From what hardly leaves a sensor's own noise to what a human sees, in the middle
# third of the run. The others are whole; the fourth replays the labelled event of its mote.
JUDGED_SENSORS = 15
JUDGED_FAULTS = (
    ("stuck,field=temperature", "1-2"),
    ("stuck,field=humidity", "5"),
    ("noise,field=temperature,size=6", "6"),
    ("noise,field=temperature,size=25", "7"),
    ("noise,field=humidity,size=25", "8"),
    ("drift,field=temperature,size=50", "9"),
    ("drift,field=temperature,size=200", "10"),
    ("drift,field=humidity,size=200", "11"),
)


def judged_fleet(common: list[str], text: list[str], labels: Path, seconds: float) -> Fleet:
    # The recordings have temperature and humidity; nothing made up is beside them.
    args = [*common, *text, "--fields", "temperature,humidity", "--seed", "6"]
    args += ["--id-prefix", JUDGED, "--sensors", str(JUDGED_SENSORS), "--threads", "1"]
    args += ["--period", f"{5 / LAPSE:g}", "--time-lapse", str(LAPSE), "--seconds", f"{seconds:g}"]
    args += ["--labels", str(labels)]
    for spec, sensors in JUDGED_FAULTS:
        args += ["--fault", f"{spec},after={seconds / 3:g},for={seconds / 3:g},sensors={sensors}"]
    what = f"JSON, {LAPSE} times as fast as the clock, with faults: what the models say is judged"
    return Fleet("site", what, JUDGED_SENSORS, args)


def fleets(appliance: Appliance, data: Path, labels: Path, seconds: float) -> list[Fleet]:
    """Who sends. Only the first one's network is clean: its latency is the appliance's alone."""
    binary = ["--target", f"127.0.0.1:{appliance.binary_port}", "--format", "binary"]
    text = ["--target", f"127.0.0.1:{appliance.json_port}", "--format", "json"]
    common = ["--data", str(data), "--repeat", "--fields", "temperature,humidity,voltage,light"]
    common += ["--tags", "firmware=2.4.1", "--numbered", "--jitter", "0.1"]

    def fleet(name: str, what: str, count: int, *args: str) -> Fleet:
        mine = [*common, "--id-prefix", f"{name}-", "--sensors", str(count), "--threads", "1"]
        if "--seconds" not in args:
            mine += ["--seconds", f"{seconds:g}"]
        return Fleet(name, what, count, [*mine, *args])

    faults = [
        "drift,field=temperature,size=600,after=8,for=14,every=25,sensors=3-5",
        "spike,field=temperature,size=900,after=12,for=2,every=15,sensors=8-11",
        "stuck,field=humidity,after=10,for=20,every=30,sensors=12-14",
        "noise,field=light,size=8,after=6,for=20,every=30,sensors=15-18",
    ]
    third = f"{seconds / 3:.0f}"
    return [
        fleet(
            "sensor",
            "binary, 4 readings/s each",
            300,
            *binary,
            *("--period", "0.25", "--seed", "1"),
            *("--verify", f"file:{appliance.records_path}", "--verify-timeout", "5"),
        ),
        fleet(
            "yard",
            "JSON over a bad network: 1 % lost, 1 % twice, 2 % out of order",
            100,
            *text,
            *("--period", "0.25", "--seed", "2", "--drift", "50"),
            *("--loss", "0.01", "--dup", "0.01", "--reorder", "0.02"),
        ),
        fleet(
            "press",
            "binary, with faults: drift, spikes, stuck values, noise",
            20,
            *binary,
            *("--period", "0.5", "--seed", "3"),
            *(a for f in faults for a in ("--fault", f)),
        ),
        fleet(
            "door",
            "JSON, asleep 10 s of each 25",
            12,
            *text,
            "--period",
            "1",
            "--sleep",
            "25:10",
            "--seed",
            "4",
        ),
        fleet(
            "cellar",
            f"binary, silent after {third} s",
            5,
            *binary,
            "--period",
            "1",
            "--seconds",
            third,
            "--seed",
            "5",
        ),
        judged_fleet(common, text, labels, seconds),
    ]


class Troublemaker(threading.Thread):
    """
    Devices with wrong clocks and senders that are no devices: each second a reading that is late,
    one that is from the future, one out of range, one sent twice, and a datagram that is broken.
    """

    def __init__(self, appliance: Appliance) -> None:
        super().__init__(daemon=True)
        self.binary = ("127.0.0.1", appliance.binary_port)
        self.text = ("127.0.0.1", appliance.json_port)
        self.readings = self.twice = self.broken = 0
        self._end = threading.Event()
        self._random = random.Random(6)

    def _reading(self, name: str, sequence: int, shift_s: float = 0, **values: float) -> bytes:
        now = time.time() + shift_s
        readings = {"sensor": name, "time": int(now * 1000), "boot": 1, "seq": sequence}
        return json.dumps({**readings, "temperature": 21.5, **values}).encode()

    def _broken(self, sequence: int) -> tuple[bytes, tuple[str, int]]:
        head = struct.pack("<HBBHBBIHHQq", 0x5350, 1, 0, 1, 1, 1, 0, 1, 0, 0, 10**18)
        kinds = [
            (b"GET / HTTP/1.1\r\n\r\n" + bytes(20), self.binary),  # not ours
            (head[:20], self.binary),  # cut short
            (head[:2] + b"\x09" + head[3:] + b"x", self.binary),  # a version to come
            (head[:4] + b"\x63\x00" + head[6:] + b"x", self.binary),  # no such stream
            (b'{"sensor": "yard-1", "temperature": "warm"}', self.text),
            (b'{"sensor": "yard-1", "temperature": 21.5', self.text),
            (b'{"sensor": "yard-\xff"}', self.text),
        ]
        return kinds[sequence % len(kinds)]

    def run(self) -> None:
        sequence = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            while not self._end.wait(1):
                twice = self._reading("gate-1", sequence)
                for datagram in (
                    twice,
                    twice,
                    self._reading("gate-2", 2 * sequence),
                    self._reading("gate-2", 2 * sequence + 1, shift_s=-400),
                    self._reading("gate-3", sequence, shift_s=7200),
                    self._reading("gate-4", sequence, humidity=130.0),
                ):
                    s.sendto(datagram, self.text)
                self.readings += 5
                self.twice += 1
                s.sendto(*self._broken(sequence))
                self.broken += 1
                sequence += 1

    def finish(self) -> None:
        self._end.set()
        self.join()
