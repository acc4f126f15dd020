"""A real Apache Kafka (KRaft, one node) for tests, the demo and the bench.

`kafka.py fetch` brings its jars from Maven Central, once per version of kafka/pom.xml and user;
clones share them and later calls need no network.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
POM = HERE / "kafka" / "pom.xml"
CLUSTER_ID = "cGVuc3RvY2stdGVzdHMxMQ"

JAVA_OPTIONS = [
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
]


class Message(NamedTuple):
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def cache_dir() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("HOME", str(ROOT / "build"))
    cache = Path(home) if os.environ.get("XDG_CACHE_HOME") else Path(home) / ".cache"
    return cache / "penstock"


def jars_dir(pom: Path = POM) -> Path:
    pom_hash = hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    return cache_dir() / f"{pom.parent.name}-{pom_hash}"


def fetch(pom: Path = POM) -> Path:
    """The folder of its jars, after getting them where they are not there. Raises on failure."""
    jars = jars_dir(pom)
    if jars.is_dir():
        return jars
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent) as temp:
        command = ["mvn", "-q", "-B", "-f", str(pom), "package", f"-Djars={temp}/jars"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        with contextlib.suppress(OSError):  # another clone was faster
            os.rename(f"{temp}/jars", jars)
    if not jars.is_dir():
        raise RuntimeError(f"no jars in {jars}")
    return jars


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def tool_path() -> Path:
    """penstock-ktool of the build directory in use ($PENSTOCK_BUILD or build)."""
    for build in (os.environ.get("PENSTOCK_BUILD", "build"), "build"):
        path = ROOT / build / "tests" / "system" / "penstock-ktool"
        if path.exists():
            return path
    raise FileNotFoundError("penstock-ktool is not built: ./dev build")


class KafkaServer:
    """Broker and controller in one process on two free loopback ports, data below `data`.

    stop() and start() keep ports and data, so that clients meet the same broker again.
    """

    def __init__(self, data: Path, settings: dict[str, str] | None = None) -> None:
        self.data = Path(data)
        self.port = free_port()
        self.controller_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = self.data / "server.log"
        self._settings = settings or {}
        self._classpath = f"{fetch()}/*"
        self._format()

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> "KafkaServer":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def _format(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://{self.bootstrap},"
            f"CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.data / "log"),
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # A killed broker comes back only after its session: 9 s unless said.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "num.network.threads": "2",
            "num.io.threads": "2",
            "log.cleaner.dedupe.buffer.size": str(16 << 20),
        }
        settings.update(self._settings)
        lines = [f"{key}={value}\n" for key, value in settings.items()]
        (self.data / "server.properties").write_text("".join(lines))
        (self.data / "log4j.properties").write_text(
            "log4j.rootLogger=WARN, out\n"
            "log4j.appender.out=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
            "log4j.appender.out.layout.ConversionPattern=%d %p %c: %m%n\n"
        )
        self._java(
            "kafka.tools.StorageTool",
            *("format", "-t", CLUSTER_ID, "-c", str(self.data / "server.properties")),
        )

    def _command(self, main: str, *args: str) -> list[str]:
        log4j = f"-Dlog4j.configuration=file:{self.data}/log4j.properties"
        return ["java", *JAVA_OPTIONS, log4j, "-cp", self._classpath, main, *args]

    def _java(self, main: str, *args: str) -> None:
        with self.log_path.open("ab") as log:
            subprocess.run(self._command(main, *args), check=True, stdout=log, stderr=log)

    def start(self, timeout_s: float = 60) -> None:
        """Returns once the broker answers with its metadata."""
        assert self.process is None
        tool_path()
        command = self._command("kafka.Kafka", str(self.data / "server.properties"))
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data,
                start_new_session=True,  # Ctrl-C is for who started it, who still needs it
            )
        deadline = time.monotonic() + timeout_s
        while self.process.poll() is None and time.monotonic() < deadline:
            with (
                contextlib.suppress(ConnectionError),
                socket.create_connection(("127.0.0.1", self.port)),
            ):
                self._tool("ready", str(timeout_s))
                return
            time.sleep(0.05)
        tail = self.log_path.read_text(errors="replace")[-3000:]
        self.kill()
        raise RuntimeError(f"Kafka did not start:\n{tail}")

    def stop(self, timeout_s: float = 30) -> None:
        """An orderly end by SIGTERM; its data stays."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """Stops answering without closing anything, as a hung host does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _tool(self, verb: str, *args: str, given: bytes = b"") -> bytes:
        command = [str(tool_path()), self.bootstrap, verb, *args]
        done = subprocess.run(command, input=given, capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()}")
        return done.stdout

    def answers(self, timeout_s: float = 0.5) -> bool:
        try:
            self._tool("ready", str(timeout_s))
        except RuntimeError:
            return False
        return True

    def create_topic(self, topic: str, partitions: int = 1, **settings: str) -> None:
        """Settings by their names with _ for the dots: cleanup_policy="compact"."""
        pairs = [f"{key.replace('_', '.')}={value}" for key, value in settings.items()]
        self._tool("create", topic, str(partitions), *pairs)

    def delete_topic(self, topic: str) -> None:
        self._tool("delete", topic)

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Partition to the offset that its next message gets."""
        lines = self._tool("ends", topic).decode().splitlines()
        return {int(p): int(end) for p, end in (line.split() for line in lines)}

    def write(self, topic: str, partition: int, key: str, value: bytes) -> None:
        """One message, for tests of the readers."""
        self._tool("write", topic, str(partition), key, given=value)

    def read_all(self, topic: str, committed: bool = False) -> list[Message]:
        """All messages up to the ends at the time of the call, each partition in its order."""
        frames = self._tool("read", topic, "committed" if committed else "uncommitted")
        return list(parse_frames(frames))


HEAD = struct.Struct("<iqqiiI")  # as ktool.c writes it


def parse_frames(frames: bytes) -> Iterator[Message]:
    at = 0

    def take(length: int) -> bytes | None:
        nonlocal at
        if length < 0:
            return None
        at += length
        return frames[at - length : at]

    while at < len(frames):
        partition, offset, time_ms, key_len, value_len, headers = HEAD.unpack_from(frames, at)
        at += HEAD.size
        key, value = take(key_len), take(value_len)
        pairs = []
        for _ in range(headers):
            name_len, header_len = struct.unpack_from("<ii", frames, at)
            at += 8
            pairs.append(((take(name_len) or b"").decode(), take(header_len)))
        yield Message(partition, offset, time_ms, key, value, pairs)


def main() -> int:
    if sys.argv[1:] == ["fetch"]:
        if shutil.which("mvn") is None and not jars_dir().is_dir():
            print("kafka.py: mvn is missing", file=sys.stderr)
            return 1
        fetch()
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
