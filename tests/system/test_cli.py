"""penstock and the API: shapes, filters, exit statuses."""

import http.client
import http.server
import json
import re
import socket
import socketserver
import struct
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest
from daemon import Config, Daemon, wait_until
from sender import sending
from wire import reading, text

Start = Callable[..., Daemon]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("penstock", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self.path))


def get(daemon: Daemon, path: str, method: str = "GET") -> tuple[int, str, str]:
    connection = UnixConnection(daemon.socket_path)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    kind = answer.headers.get("Content-Type", "")
    connection.close()
    return answer.status, kind, body


@pytest.fixture
def daemon(penstockd: Start, config: Config, tmp_path: Path) -> Daemon:
    """With 30 readings of three sensors and an alert."""
    config["streams"][0]["alerts"] = [
        {"name": "hot", "type": "above", "field": "temperature", "threshold": 30}
    ]
    (tmp_path / "sensors.csv").write_text('id,name,site,lat\ns1,"Pump ""1""",North,52.52\n')
    config["attributes"] = [{"file": str(tmp_path / "sensors.csv")}]
    daemon = penstockd(config)
    daemon.send(
        text(reading(f"s{i}", n, temperature=40 if i == 2 else 20, humidity=n))
        for i in range(3)
        for n in range(5 * (i + 1))
    )
    daemon.received(30)
    daemon.delivered()
    return daemon


def test_status_names_what_runs(daemon: Daemon) -> None:
    status = daemon.ask("status")
    assert (status["name"], status["state"]) == ("under-test", "running")
    assert status["config"] == str(daemon.config_path)
    assert status["start"]["first"] is True
    assert status["journal"]["state"] == "ok" and status["journal"]["sync"] == "always"
    assert status["inputs"][0]["port"] == daemon.udp_address()[1]
    assert status["outputs"][0]["state"] == "running"
    histogram = status["workers"][0]["batches"]
    assert histogram[0]["from"] == 1 and sum(b["count"] for b in histogram) > 0
    shown = daemon.penstock("status")
    assert shown.returncode == 0
    for word in ("under-test", status["appliance"], "climate", "always"):
        assert word in shown.stdout


def test_ledger_shows_every_sum(daemon: Daemon) -> None:
    ledger = daemon.ask("ledger", "--settle", "--delivered")
    assert ledger["balanced"] and ledger["settled"]
    assert ledger["readings"] | {"dropped": {}} == {
        "decoded": 30,
        "recorded": 30,
        "duplicate": 0,
        "dropped": {},
        "in_flight": 0,
        "recovered": 0,
    }
    assert ledger["records"]["alert"] == 1
    shown = daemon.penstock("ledger", "--settle")
    assert shown.returncode == 0 and "every sum closes, nothing is in flight" in shown.stdout


def test_top_finds_the_busiest(daemon: Daemon) -> None:
    top = daemon.ask("top")
    assert top["known"] == 3
    assert [(s["id"], s["readings"]) for s in top["sensors"]] == [("s2", 15), ("s1", 10), ("s0", 5)]
    assert top["sensors"][0]["alerts"] == ["hot"]
    assert top["sensors"][1]["attributes"] == {"name": 'Pump "1"', "site": "North", "lat": 52.52}
    assert '"lat": 52.52\n' in daemon.penstock("top", "--json").stdout
    assert [s["id"] for s in daemon.ask("top", "-n", "1")["sensors"]] == ["s2"]
    assert [s["id"] for s in daemon.ask("top", "--sensor", "s0")["sensors"]] == ["s0"]
    assert daemon.penstock("top", "--sensor", "nobody").returncode == 1
    assert daemon.penstock("top", "--stream", "nothing").returncode == 4
    assert "s2" in daemon.penstock("top").stdout


def lines_of(done: subprocess.CompletedProcess[str]) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_tail_filters_what_is_there(daemon: Daemon, tmp_path: Path) -> None:
    there = ("--from", "oldest", "--no-follow", "--json")
    in_file = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    everything = lines_of(daemon.penstock("tail", *there))
    assert [r for r in everything if r["kind"] != "mark"] == in_file
    of_one = lines_of(daemon.penstock("tail", *there, "--sensor", "s1"))
    assert [r["seq"] for r in of_one] == list(range(10))
    assert of_one[0]["attributes"]["site"] == "North"
    alerts = lines_of(daemon.penstock("tail", *there, "--kind", "alert"))
    assert [r["alert"]["state"] for r in alerts] == ["raise"]
    assert len(lines_of(daemon.penstock("tail", *there, "-n", "7"))) == 7
    assert "s1" in daemon.penstock("tail", "--from", "oldest", "--no-follow").stdout
    assert daemon.penstock("tail", "--kind", "rumour").returncode == 4


def test_tail_follows_what_comes(daemon: Daemon) -> None:
    penstock = str(daemon.build / "control" / "penstock")
    command = [penstock, "tail", "--socket", str(daemon.socket_path), "--json", "-n", "20",
               "--kind", "reading"]  # fmt: skip
    tail = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with sending(daemon.udp_address(), rate=200):
        out, _ = tail.communicate(timeout=20)
    assert tail.returncode == 0
    sensors = [json.loads(line)["sensor"] for line in out.splitlines()]
    assert len(sensors) == 20 and all(s.startswith("device-") for s in sensors)


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_top_watches_until_the_daemon_stops(penstockd: Start, config: Config, way: str) -> None:
    """An orderly stop is the end of a watch, not a failure of it; a death is one."""
    daemon = penstockd(config, settle=False)  # it is down in the end, and has had nothing
    command = [str(daemon.build / "control" / "penstock"), "top", "--watch", "--socket"]
    top = subprocess.Popen(
        [*command, str(daemon.socket_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert top.stdout is not None
    assert "0 sensors known" in top.stdout.readline()
    getattr(daemon, way)()
    _, says = top.communicate(timeout=20)
    if way == "stop":
        assert (top.returncode, says) == (0, "penstock: the daemon stopped\n")
    else:
        assert top.returncode == 3 and "stopped" not in says


class Stopping(http.server.BaseHTTPRequestHandler):
    """Answers one look at the sensors, then is a daemon about to stop."""

    def do_GET(self) -> None:
        self.server.looks += 1  # type: ignore[attr-defined]
        first = self.server.looks == 1  # type: ignore[attr-defined]
        answer = {"known": 0, "sensors": []} if first else {"error": "stopping", "stopping": True}
        body = json.dumps(answer).encode()
        self.send_response(200 if first else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *args: object) -> None:
        pass

    def address_string(self) -> str:
        return "unix"


def test_top_ends_well_with_a_daemon_that_says_it_stops(build_dir: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "stub.sock")
    with socketserver.UnixStreamServer(path, Stopping) as server:
        server.looks = 0  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        command = [str(build_dir / "control" / "penstock"), "top", "--watch", "--socket", path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        server.shutdown()
        thread.join()
    assert (done.returncode, done.stderr) == (0, "penstock: the daemon stopped\n")


def tail_to_the_end(daemon: Daemon) -> subprocess.CompletedProcess[str]:
    return daemon.penstock("tail", "--from", "oldest", "--no-follow", "--json")


def test_tail_ends_when_the_disk_refuses(daemon: Daemon, tmp_path: Path) -> None:
    """A directory where a segment should be: opened, but not read, however often it is asked."""
    path = min((tmp_path / "state").glob("*.seg"), key=lambda p: p.name)
    aside = tmp_path / "aside"
    path.rename(aside)
    path.mkdir()
    done = tail_to_the_end(daemon)
    path.rmdir()
    aside.rename(path)
    assert (done.returncode, "mid-answer" in done.stderr) == (3, True)
    assert len(lines_of(tail_to_the_end(daemon))) > 30


def test_tail_ends_at_damage_that_nobody_mends(daemon: Daemon, tmp_path: Path) -> None:
    """The last block before its end: no later one says that it had been on the disk."""
    path = max((tmp_path / "state").glob("*.seg"), key=lambda p: p.name)
    wait_until("last mark", lambda: tail_to_the_end(daemon).stdout.count('"kind":"mark"') >= 2)
    content = path.read_bytes()
    at = content.rindex(b"PBLK") + 140

    def put(byte: int) -> None:
        with path.open("r+b") as segment:
            segment.seek(at)
            segment.write(bytes([byte]))

    put(content[at] ^ 1)
    done = tail_to_the_end(daemon)
    put(content[at])
    assert (done.returncode, "mid-answer" in done.stderr) == (3, True)
    assert len(lines_of(tail_to_the_end(daemon))) > 30


SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? '
    r"([-+]?[0-9.eE+-]+|NaN|[-+]Inf)"
)


def test_metrics_are_prometheus_text(daemon: Daemon) -> None:
    status, kind, body = get(daemon, "/metrics")
    assert status == 200 and kind.startswith("text/plain; version=0.0.4")
    types: dict[str, str] = {}
    samples: dict[str, float] = {}
    for line in body.splitlines():
        comment = re.fullmatch(r"# (HELP|TYPE) (\S+) (.+)", line)
        if comment:
            if comment[1] == "TYPE":
                assert comment[2] not in types, f"{comment[2]} comes twice"
                types[comment[2]] = comment[3]
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, f"no sample: {line}"
        assert sample[1] in types, f"{sample[1]} has no TYPE"
        assert types[sample[1]] == "counter" or not sample[1].endswith("_total"), line
        name = sample[1] + (sample[2] or "")
        assert name not in samples, f"{name} comes twice"
        samples[name] = float(sample[3])
    assert body.endswith("\n")
    assert samples["penstock_recorded_readings_total"] == 30
    assert samples["penstock_ledger_balanced"] == 1
    assert samples['penstock_records_total{kind="alert"}'] == 1
    assert samples['penstock_output_delivered_records_total{output="file"}'] >= 31
    assert samples['penstock_rejected_datagrams_total{reason="utf8"}'] == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/config", 200),
        ("HEAD", "/status", 200),
        ("GET", "/nothing", 404),
        ("GET", "/../../etc/passwd", 404),
        ("POST", "/status", 405),
        ("GET", "/stop", 405),
        ("GET", "/sensors?n=0", 400),
        ("GET", "/sensors?n=-1", 400),
        ("GET", "/sensors?n=1e3", 400),
        ("GET", "/sensors?n=99999999999999999999", 400),
        ("GET", "/sensors?colour=blue", 400),
        ("GET", "/sensors?%ff%c3%28=blue", 400),
        ("GET", "/%ff", 404),
        ("GET", "/" + "x" * 62 + "%c3%a4", 404),
        ("GET", "/sensors?stream=nothing", 404),
        ("GET", "/sensors?id=" + "x" * 33, 400),
        ("GET", "/tail?from=tomorrow", 400),
        ("GET", "/tail?limit=0", 400),
        ("GET", "/tail?follow=0&sensor=%00", 400),
    ],
)
def test_api_answers_with_a_status_and_a_reason(
    penstockd: Start, config: Config, method: str, path: str, status: int
) -> None:
    daemon = penstockd(config)
    answer, kind, body = get(daemon, path, method)
    assert answer == status, body
    if method != "HEAD":
        assert kind == "application/json"
        assert status == 200 or json.loads(body)["error"]


def test_exit_statuses_without_a_daemon(build_dir: Path, tmp_path: Path) -> None:
    penstock = str(build_dir / "control" / "penstock")
    nowhere = ["--socket", str(tmp_path / "nobody.sock")]
    for args, status, says in (
        (["status", *nowhere], 3, "no daemon answers"),
        (["ledger", "--settle", *nowhere], 3, "no daemon answers"),
        (["tail", *nowhere], 3, "no daemon answers"),
        (["stop", *nowhere], 3, "no daemon answers"),
        ([], 2, "usage"),
        (["fly"], 2, "usage"),
        (["status", "--colour"], 2, "usage"),
        (["status", "extra"], 2, "usage"),
        (["top", "-n", "many"], 2, "usage"),
        (["tail", "-n", "0", *nowhere], 2, "not a number that makes sense: 0"),
        (["status", "--colour"], 2, "no such option: --colour"),
        (["status", "--colour=red"], 2, "no such option: --colour=red"),
        (["status", "-x"], 2, "no such option: -x"),
        (["status", "-jx"], 2, "no such option: -j"),
        (["status", "--sensor", "a"], 2, "does not take that option: --sensor"),
        (["status", "-n", "5"], 2, "does not take that option: -n"),
        (["status", "--json=1"], 2, "takes no value: --json"),
        (["tail", "--sensor"], 2, "a value is missing: --sensor"),
        (["top", "-n"], 2, "a value is missing: -n"),
        (
            ["journal"],
            2,
            "journal: a subcommand is needed; there is:\nusage: penstock journal dump",
        ),
        (
            ["journal", "fly"],
            2,
            "journal: no such subcommand: fly; there is:\nusage: penstock jour",
        ),
        (["journal", "--json"], 2, "penstock journal dump"),
        (["journal", "dump"], 2, "usage"),
        (["journal", "dump", str(tmp_path / "0000000000000001.seg")], 5, "No such file"),
        (["check", str(tmp_path / "nothing.yaml")], 2, "nothing.yaml"),
    ):
        done = subprocess.run([penstock, *args], capture_output=True, text=True, timeout=10)
        assert (done.returncode, says in done.stderr) == (status, True), (args, done)
    for args in (["--help"], ["journal", "--help"], ["journal", "dump", "--help"]):
        assert subprocess.run([penstock, *args], capture_output=True).returncode == 0, args


class Unsettled(BaseHTTPRequestHandler):
    """A daemon whose output has everything only when it is asked again."""

    asked: ClassVar[int] = 0

    def do_GET(self) -> None:
        Unsettled.asked += 1
        output = {"name": "late", "spooled": 7 if Unsettled.asked == 1 else 0}
        body = json.dumps({"balanced": True, "settled": True, "outputs": [output]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def test_ledger_delivered_waits_without_settle(build_dir: Path, tmp_path: Path) -> None:
    """A script that relies on it must not go on while an output still owes records."""
    path = str(tmp_path / "api.sock")
    with socketserver.UnixStreamServer(path, Unsettled) as server:
        threading.Thread(target=server.serve_forever).start()
        command = [str(build_dir / "control" / "penstock"), "ledger", "--delivered", "--json"]
        done = subprocess.run([*command, "--socket", path], capture_output=True, timeout=30)
        server.shutdown()
    assert done.returncode == 0
    assert Unsettled.asked == 2
    assert json.loads(done.stdout)["outputs"][0]["spooled"] == 0


def test_segment_with_one_good_header_is_dumped(daemon: Daemon, tmp_path: Path) -> None:
    """The header is written twice so that one bad page does not take a segment away."""
    daemon.stop()
    path = min((tmp_path / "state").glob("*.seg"), key=lambda p: p.name)
    content = path.read_bytes()
    whole = daemon.ask("journal", "dump", str(path))
    copy_bytes = struct.unpack_from("<I", content, 48)[0]
    for bad in (0, 4, 8, copy_bytes + 8):  # magic, version and serial of the first, the second
        path.write_bytes(content[:bad] + bytes([content[bad] ^ 0xFF]) + content[bad + 1 :])
        assert daemon.ask("journal", "dump", str(path)) == whole
    path.write_bytes(bytes(2 * copy_bytes) + content[2 * copy_bytes :])
    done = daemon.penstock("journal", "dump", str(path))
    assert (done.returncode, "is no segment of a journal" in done.stderr) == (5, True)
    other = path.with_name("00000000000000ff.seg")
    path.rename(other)
    other.write_bytes(content)
    done = daemon.penstock("journal", "dump", str(other))
    assert (done.returncode, "another segment than its name" in done.stderr) == (5, True)
    other.rename(path)
    daemon.start()


def test_damage_in_a_segment_is_told(daemon: Daemon, tmp_path: Path) -> None:
    daemon.stop()
    path = min((tmp_path / "state").glob("*.seg"), key=lambda p: p.name)
    content = path.read_bytes()
    at = content.index(b"PBLK")
    path.write_bytes(content[: at + 140] + bytes([content[at + 140] ^ 1]) + content[at + 141 :])
    done = daemon.penstock("journal", "dump", str(path))
    assert done.returncode == 1
    path.write_bytes(content)
    daemon.start()


def test_socket_of_a_killed_daemon_is_taken_over(penstockd: Start, config: Config) -> None:
    daemon = penstockd(config)
    daemon.kill()
    assert daemon.socket_path.exists()
    daemon.start()
    wait_until("an answer", lambda: daemon.ask("status"))
