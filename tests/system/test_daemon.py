"""penstockd and penstock as a person meets them: start, stop, restart, refusals, answers."""

import json
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from daemon import Config, Daemon, free_udp_port, wait_until

MakeDaemon = Callable[..., Daemon]


def binary(sensor: str, seq: int, values: list[float], *, boot: int = 7) -> bytes:
    """Datagram v1 (docs/wire.md) with one reading: numbered, f32, all fields present."""
    fields = (0x5350, 1, 2, 1, len(sensor), 1, boot, len(values), 0, seq, time.time_ns())
    head = struct.pack("<HBBHBBIHHQq", *fields)
    presence = ((1 << len(values)) - 1).to_bytes((len(values) + 7) // 8, "little")
    return (
        head
        + sensor.encode()
        + struct.pack("<i", 0)
        + presence
        + struct.pack(f"<{len(values)}f", *values)
    )


def readings(count: int, sensors: int = 4, first: int = 0) -> list[bytes]:
    return [
        binary(f"s-{i % sensors}", first + i // sensors, [20 + i % 7, 50.5]) for i in range(count)
    ]


@pytest.fixture
def config(config: Config) -> Config:
    """With a binary input in front."""
    listen = f"127.0.0.1:{free_udp_port()}"
    config["inputs"].insert(0, {"name": "binary", "format": "binary", "listen": listen})
    return config


def lines_of(config: Config) -> list[dict[str, Any]]:
    path = Path(config["outputs"][0]["path"])
    return [json.loads(line) for line in path.read_text().splitlines()]


def recorded(config: Config) -> list[tuple[str, int]]:
    return [(r["sensor"], r["seq"]) for r in lines_of(config) if r["kind"] == "reading"]


# --- the way of a reading ------------------------------------------------------------------------


def test_readings_reach_the_file(penstockd: MakeDaemon, config: Config) -> None:
    daemon = penstockd(config)
    daemon.send(readings(200))
    daemon.send([readings(1)[0]])  # a duplicate
    daemon.send([b"nonsense", b""])
    ledger = daemon.received(203)
    assert ledger["datagrams"]["decoded"] == 201
    assert ledger["datagrams"]["rejected"]["total"] == 2
    assert ledger["readings"]["recorded"] == 200
    assert ledger["readings"]["duplicate"] == 1
    daemon.delivered("file")
    got = recorded(config)
    assert len(got) == 200
    assert set(got) == {(f"s-{i % 4}", i // 4) for i in range(200)}
    for sensor in {s for s, _ in got}:
        seqs = [q for s, q in got if s == sensor]
        assert seqs == sorted(seqs), "a sensor's order holds"


def test_restart_keeps_counters_and_repeats_nothing(penstockd: MakeDaemon, config: Config) -> None:
    daemon = penstockd(config)
    daemon.send(readings(100))
    before = daemon.received(100)
    daemon.stop()
    daemon.start()
    after = daemon.settle()
    assert after["readings"]["recorded"] == before["readings"]["recorded"] == 100
    assert after["datagrams"]["received"] == 100
    assert daemon.ask("status")["start"]["clean"]
    daemon.send(readings(100))  # the same again: known before the restart
    daemon.send(readings(40, first=25))
    ledger = daemon.received(240)
    assert ledger["readings"]["duplicate"] == 100
    assert ledger["readings"]["recorded"] == 140
    daemon.delivered("file")
    got = recorded(config)
    assert len(got) == len(set(got)) == 140


def test_kill_is_recovered_from(penstockd: MakeDaemon, config: Config) -> None:
    daemon = penstockd(config)
    daemon.send(readings(100))
    daemon.received(100)
    daemon.kill()
    daemon.start()
    status = daemon.ask("status")
    assert not status["start"]["clean"]
    ledger = daemon.delivered("file")
    assert ledger["readings"]["recorded"] == 100
    got = recorded(config)
    assert len(got) == len(set(got)) == 100


@pytest.mark.parametrize("sync", ["lazy", "off"])
def test_other_sync_modes(penstockd: MakeDaemon, config: Config, sync: str) -> None:
    config["journal"]["sync"] = sync
    daemon = penstockd(config)
    daemon.send(readings(100))
    daemon.received(100)
    daemon.delivered("file")
    assert len(recorded(config)) == 100


def test_several_workers_share_the_sensors(penstockd: MakeDaemon, config: Config) -> None:
    config["workers"] = 4
    daemon = penstockd(config)
    # each sender's socket lands on a worker of the kernel's choice; the numbers of all parts lie
    # within what the duplicate bitmap spans, since they may overtake each other
    for part in range(8):
        daemon.send(readings(96, sensors=16, first=6 * part))
    ledger = daemon.received(768)
    assert ledger["readings"]["recorded"] == 768
    workers = daemon.ask("status")["workers"]
    assert sum(w["sensors"] for w in workers) == 16
    assert sum(w["sensors"] > 0 for w in workers) > 1
    daemon.delivered("file")
    assert len(set(recorded(config))) == 768


# --- stop ----------------------------------------------------------------------------------------


def test_stop_under_load_loses_nothing_taken_over(penstockd: MakeDaemon, config: Config) -> None:
    daemon = penstockd(config)
    going = threading.Event()
    going.set()

    def load() -> None:
        first = 0
        while going.is_set():
            daemon.send(readings(64, first=first))
            first += 16
            time.sleep(0.001)

    sender = threading.Thread(target=load)
    sender.start()
    try:
        time.sleep(0.5)
        daemon.stop()
    finally:
        going.clear()
        sender.join()
    assert "ledger closed" in daemon.log
    assert daemon.log.rstrip().endswith("stopped")
    delivered = len(recorded(config))
    daemon.start()
    ledger = daemon.settle()
    assert ledger["readings"]["recorded"] == delivered > 100


def test_stop_by_the_api(penstockd: MakeDaemon, config: Config) -> None:
    daemon = penstockd(config)
    daemon.send(readings(20))
    daemon.received(20)
    assert daemon.ask("stop") == {"stopping": True}
    assert daemon.wait() == 0
    assert "ledger closed" in daemon.log
    assert not daemon.socket_path.exists()
    daemon.process = None
    daemon.start()


def test_dead_broker_does_not_hang_the_stop(penstockd: MakeDaemon, config: Config) -> None:
    kafka = {
        "name": "kafka",
        "type": "kafka",
        "brokers": "127.0.0.1:1",
        "topics": {"readings": "r"},
    }
    config["outputs"].append(kafka)
    daemon = penstockd(config)
    daemon.send(readings(20))
    daemon.received(20)
    daemon.delivered("file")
    outputs = {o["name"]: o for o in daemon.ask("status")["outputs"]}
    assert outputs["kafka"]["backlog"] > 0
    os.kill(daemon.pid, signal.SIGTERM)
    time.sleep(0.5)
    os.kill(daemon.pid, signal.SIGTERM)  # do not wait the ten seconds for the broker
    assert daemon.wait(timeout_s=8) == 0
    assert "output kafka has not had everything" in daemon.log
    daemon.process = None
    daemon.start()
    ledger = {o["name"]: o for o in daemon.settle()["outputs"]}
    assert ledger["kafka"]["spooled"] >= 20
    os.kill(daemon.pid, signal.SIGTERM)
    os.kill(daemon.pid, signal.SIGTERM)
    assert daemon.wait() == 0
    daemon.process = None
    del config["outputs"][1]
    daemon.write_config()
    daemon.start()


def stop_at(daemon: Daemon, read: int) -> bool:
    """Starts it, with a SIGTERM at that read of the start. Whether it was ready before."""
    daemon.log_path.unlink()
    preload = str(daemon.build / "tests" / "system" / "libstop_at.so")
    daemon.spawn({"LD_PRELOAD": preload, "PENSTOCK_STOP_AT": str(read)})
    wait_until("ready, or stopped", lambda: not daemon.running or "info    ready\n" in daemon.log)
    ready = "info    ready\n" in daemon.log
    if daemon.running:
        daemon.stop()
    assert daemon.process is None or daemon.wait() == 0, daemon.log
    daemon.process = None
    assert "signal SIGTERM" in daemon.log
    return ready


def test_stop_at_any_read_of_a_start(penstockd: MakeDaemon, config: Config) -> None:
    """Recovery after a kill, and replay: broken off, they lose nothing and say nothing twice."""
    config["journal"]["segment"] = "1MiB"
    daemon = penstockd(config)
    daemon.send(readings(2000, sensors=50))
    daemon.received(2000)
    daemon.delivered("file")
    daemon.kill()
    read, broken_off = 1, 0
    while not stop_at(daemon, read):
        broken_off += 1
        read = read + 1 if read < 8 else 2 * read
    assert broken_off >= 8, "the start was over before the stop"
    daemon.start()
    ledger = daemon.settle()
    assert ledger["readings"]["recorded"] == 2000
    assert sorted(recorded(config)) == sorted((f"s-{i % 50}", i // 50) for i in range(2000))


# --- refusals ------------------------------------------------------------------------------------


def refused(daemon: Daemon, status: int, *words: str, under: Iterable[str] = ()) -> None:
    daemon.spawn(under=under)
    assert daemon.wait() == status, daemon.log
    for word in words:
        assert word in daemon.log
    daemon.process = None


def test_second_daemon_is_refused(penstockd: MakeDaemon, config: Config, tmp_path: Path) -> None:
    first = penstockd(config)
    other = json.loads(json.dumps(config))
    for entry in other["inputs"]:
        entry["listen"] = f"127.0.0.1:{free_udp_port()}"
    other["api"]["socket"] = str(tmp_path / "other.sock")
    refused(penstockd(other, start=False, settle=False), 3, "in use by another penstockd")
    first.send(readings(4))
    first.received(4)


def test_taken_port_is_refused(penstockd: MakeDaemon, config: Config, tmp_path: Path) -> None:
    first = penstockd(config, settle=False)
    other = json.loads(json.dumps(config))
    other["journal"]["dir"] = str(tmp_path / "other")
    other["outputs"] = []
    other["api"]["socket"] = str(tmp_path / "other.sock")
    second = penstockd(other, start=False, settle=False)
    refused(second, 8, "another process has that port")
    assert first.running
    first.stop()
    second.start()
    assert "last run ended in order" in second.log
    second.settle()


def test_taken_api_socket_is_refused(penstockd: MakeDaemon, config: Config, tmp_path: Path) -> None:
    first = penstockd(config)
    other = json.loads(json.dumps(config))
    for entry in other["inputs"]:
        entry["listen"] = f"127.0.0.1:{free_udp_port()}"
    other["journal"]["dir"] = str(tmp_path / "other")
    other["outputs"] = []
    refused(penstockd(other, start=False, settle=False), 10, "another daemon answers there")
    assert first.ask("status")["state"] == "running", "and the first keeps its socket"


@pytest.mark.parametrize("mode", [0o500, 0o600], ids=["not written", "not entered"])
def test_api_socket_where_permission_is_missing(
    penstockd: MakeDaemon, config: Config, tmp_path: Path, obeying: list[str], mode: int
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)
    config["api"]["socket"] = str(folder / "api.sock")
    daemon = penstockd(config, start=False, settle=False)
    refused(daemon, 10, f"api: {folder}/api.sock: Permission denied", under=obeying)
    assert "give the user that runs penstockd access to its folder" in daemon.log
    config["api"]["socket"] = str(folder / "made" / "api.sock")
    daemon.write_config()
    refused(daemon, 10, f"{folder}/made/api.sock: Permission denied", under=obeying)
    folder.chmod(0o700)
    assert list(folder.iterdir()) == []


def test_file_that_another_writes_is_refused(
    penstockd: MakeDaemon, config: Config, tmp_path: Path
) -> None:
    first = penstockd(config)
    other = json.loads(json.dumps(config))
    for entry in other["inputs"]:
        entry["listen"] = f"127.0.0.1:{free_udp_port()}"
    other["journal"]["dir"] = str(tmp_path / "other")
    other["api"]["socket"] = str(tmp_path / "other.sock")
    refused(penstockd(other, start=False, settle=False), 7, "another output or penstockd writes to")
    (tmp_path / "link").symlink_to(tmp_path)  # two outputs, one file: only the lock sees it
    other["outputs"] = [
        {"name": "a", "type": "file", "path": str(tmp_path / "x.jsonl")},
        {"name": "b", "type": "file", "path": str(tmp_path / "link" / "x.jsonl")},
    ]
    refused(penstockd(other, start=False, settle=False), 7, "output b: another output")
    first.send(readings(4))
    first.received(4)


def test_busy_api_socket_is_left_alone(
    penstockd: MakeDaemon, config: Config, tmp_path: Path
) -> None:
    """A daemon whose backlog is full does not answer, and is there; waiting for it would hang."""
    path = tmp_path / "api.sock"
    waiting = []
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        try:
            for _ in range(8):
                client = socket.socket(socket.AF_UNIX)
                waiting.append(client)
                client.setblocking(False)
                client.connect(str(path))
            raise AssertionError("the backlog does not fill")
        except BlockingIOError:
            pass
        refused(penstockd(config, start=False, settle=False), 10, "another daemon answers there")
        assert path.exists()
    for client in waiting:
        client.close()


def test_config_errors_come_all_at_once(penstockd: MakeDaemon, config: Config) -> None:
    config["streams"][0]["windows"][0]["slide"] = "7s"
    config["inputs"][0]["format"] = "morse"
    daemon = penstockd(config, start=False, settle=False)
    refused(daemon, 2, "streams[0].windows[0]", "inputs[0].format")
    check = daemon.penstock("check", str(daemon.config_path), "--json")
    assert check.returncode == 2
    assert len(json.loads(check.stdout)["errors"]) == 2


def test_properties_that_kafka_does_not_know(penstockd: MakeDaemon, config: Config) -> None:
    kafka = {"name": "k", "type": "kafka", "brokers": "127.0.0.1:1", "topics": {"readings": "r"}}
    config["outputs"].append(kafka | {"properties": {"no.such.property": "1"}})
    daemon = penstockd(config, start=False, settle=False)
    refused(daemon, 2, "outputs[1]", "no.such.property")
    check = daemon.penstock("check", str(daemon.config_path))
    assert check.returncode == 2
    assert "no.such.property" in check.stderr


def test_state_directory_is_made(penstockd: MakeDaemon, config: Config, tmp_path: Path) -> None:
    config["journal"]["dir"] = str(tmp_path / "not" / "there" / "yet")
    daemon = penstockd(config)
    daemon.send(readings(4))
    daemon.received(4)
    assert Path(config["journal"]["dir"]).is_dir()


def test_state_directory_that_cannot_be(
    penstockd: MakeDaemon, config: Config, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    config["journal"]["dir"] = str(tmp_path / "file")
    refused(penstockd(config, start=False, settle=False), 6, "must be a directory")
    config["journal"]["dir"] = "/sys/penstock"  # nobody may write there, not even root
    refused(penstockd(config, start=False, settle=False), 6, "/sys/penstock")


def test_core_that_is_not_there(penstockd: MakeDaemon, config: Config) -> None:
    config["workers"] = [1023]
    daemon = penstockd(config, start=False, settle=False)
    daemon.spawn()
    assert daemon.wait() in (1, 2), daemon.log
    assert "core" in daemon.log
    daemon.process = None


# --- outputs that come and go ---------------------------------------------------------------------


def test_output_that_left_the_config_begins_anew(penstockd: MakeDaemon, config: Config) -> None:
    config["journal"]["retention"] = "1h"
    state = Path(config["journal"]["dir"])
    output = config["outputs"][0]
    daemon = penstockd(config)
    daemon.send(readings(10))
    daemon.received(10)
    daemon.delivered("file")
    for change in ({"enabled": False}, {}):
        daemon.stop()
        config["outputs"] = [output | change]
        daemon.write_config()
        daemon.start()
        assert (state / "output-file.pos").exists(), "a disabled output keeps its position"
    daemon.stop()
    config["outputs"] = []
    daemon.write_config()
    daemon.start()
    wait_until("dropped", lambda: "output file: not in the config any more" in daemon.log)
    assert not list(state.glob("output-file.*"))
    daemon.send(readings(10, first=100))
    daemon.received(20)
    daemon.stop()
    config["outputs"] = [output]
    daemon.write_config()
    daemon.start()
    daemon.delivered("file")
    assert len(recorded(config)) == 10, "from: end"


def test_failed_start_drops_no_position(penstockd: MakeDaemon, config: Config) -> None:
    """A start with the wrong config that comes to nothing must not cost an output its backlog."""
    output = config["outputs"][0]
    daemon = penstockd(config)
    daemon.send(readings(10))
    daemon.received(10)
    daemon.delivered("file")
    daemon.stop()
    config["outputs"] = [output | {"enabled": False}]
    daemon.write_config()
    daemon.start()
    daemon.send(readings(10, first=10))
    daemon.received(20)
    daemon.stop()
    config["outputs"] = []
    daemon.write_config()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(daemon.udp_address())
        refused(daemon, 8, "another process has that port")
    Path(config["api"]["socket"]).write_text("in the way")
    refused(daemon, 10, "api")
    Path(config["api"]["socket"]).unlink()
    config["outputs"] = [output]
    daemon.write_config()
    daemon.start()
    daemon.delivered("file")
    assert len(recorded(config)) == 20, "what came while it was disabled"


@pytest.mark.parametrize("with_dir", [True, False])
def test_dead_letters_of_a_journal_in_memory(
    penstockd: MakeDaemon, config: Config, tmp_path: Path, *, with_dir: bool
) -> None:
    """They go to the directory if there is one; in memory they would only grow, unread."""
    state = tmp_path / "state"
    config["journal"] = {"sync": "off"} | ({"dir": str(state)} if with_dir else {})
    attributes = tmp_path / "sensors.csv"
    texts = ",".join(["x" * 250] * 4)  # longer than a message may be
    attributes.write_text("id,a,b,c,d\n" + "".join(f"s-{i},{texts}\n" for i in range(4)))
    config["attributes"] = [{"file": str(attributes)}]
    config["outputs"] = [
        {
            "name": "k",
            "type": "kafka",
            "brokers": "127.0.0.1:1",
            "topics": {"readings": "r"},
            "message_max": 1000,
        }
    ]
    daemon = penstockd(config)
    daemon.send(readings(8))
    daemon.received(8)
    ledger = daemon.delivered("k")
    assert ledger["outputs"][0]["dead_letter"] == 8
    handles = [os.readlink(fd) for fd in Path(f"/proc/{daemon.pid}/fd").iterdir()]
    assert not any("memfd:dead" in h for h in handles)
    if with_dir:
        lines = (state / "dead-k.jsonl").read_text().splitlines()
        assert len([json.loads(line) for line in lines]) == 8
    else:
        assert not list(tmp_path.rglob("dead-*"))


def test_losses_of_the_start_are_told(penstockd: MakeDaemon, config: Config) -> None:
    """What comes between the first receive and `ready` is no less lost than what comes later."""
    daemon = penstockd(config, start=False)
    daemon.spawn()
    while "ready" not in daemon.log:
        daemon.send([b"no reading"] * 4)
    rejected = daemon.quiet()["datagrams"]["rejected"]["total"]
    assert rejected > 0

    def told() -> int:
        return sum(int(n) for n in re.findall(r"rejected\.\w+: (\d+) more", daemon.log))

    wait_until("all of them told", lambda: told() == rejected, 30)


# --- answers -------------------------------------------------------------------------------------


def test_workers_are_pinned(penstockd: MakeDaemon, config: Config) -> None:
    config["workers"] = 2
    daemon = penstockd(config)
    workers = daemon.ask("status")["workers"]
    assert len(workers) == 2
    for worker in workers:
        assert worker["affinity"] == [worker["core"]]
    tasks = Path(f"/proc/{daemon.pid}/task")
    for task in tasks.iterdir():
        name = (task / "comm").read_text().strip()
        if name.startswith("worker-"):
            index = int(name.removeprefix("worker-"))
            assert os.sched_getaffinity(int(task.name)) == {workers[index]["core"]}


def test_idle_daemon_sleeps(penstockd: MakeDaemon, config: Config) -> None:
    daemon = penstockd(config)
    daemon.send(readings(4))
    daemon.received(4)

    def ticks() -> int:
        fields = Path(f"/proc/{daemon.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    time.sleep(0.5)
    before = ticks()
    time.sleep(2)
    assert ticks() - before < 0.2 * 2 * os.sysconf("SC_CLK_TCK"), "a tenth of a core, idle"


def test_api_socket_is_for_its_group(penstockd: MakeDaemon, config: Config) -> None:
    daemon = penstockd(config)
    mode = daemon.socket_path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660


def test_top_knows_the_sensors(penstockd: MakeDaemon, config: Config, tmp_path: Path) -> None:
    attributes = tmp_path / "sensors.csv"
    attributes.write_text("id,site,lat\ns-0,north,52.5\n")
    config["attributes"] = [{"file": str(attributes)}]
    config["workers"] = 2
    daemon = penstockd(config)
    daemon.send(readings(30, sensors=3) + readings(5, sensors=1, first=100))
    daemon.received(35)
    top = daemon.ask("top")
    assert top["known"] == 3
    assert [s["readings"] for s in top["sensors"]] == [15, 10, 10]
    first = top["sensors"][0]
    assert first["id"] == "s-0"
    assert first["attributes"] == {"site": "north", "lat": 52.5}
    assert daemon.ask("top", "--sensor", "s-2")["sensors"][0]["readings"] == 10
    assert daemon.ask("top", "-n", "1", "--stream", "climate")["known"] == 3
    assert daemon.penstock("top", "--sensor", "s-99").returncode == 1
    assert daemon.penstock("top", "--stream", "none").returncode == 4


def test_tail_from_the_oldest_and_from_now(penstockd: MakeDaemon, config: Config) -> None:
    daemon = penstockd(config)
    daemon.send(readings(40))
    daemon.received(40)
    done = daemon.penstock("tail", "--json", "--from", "oldest", "--no-follow", "--kind", "reading")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 40
    done = daemon.penstock(
        "tail", "--json", "--from", "oldest", "--no-follow", "--sensor", "s-1", "-n", "3"
    )
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == [0, 1, 2]
    command = [str(daemon.build / "control" / "penstock"), "tail", "--json", "-n", "2"]
    command += ["--socket", str(daemon.socket_path), "--kind", "reading"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
        time.sleep(0.5)
        daemon.send(readings(2, first=500))
        out, _ = tail.communicate(timeout=10)
    assert {json.loads(line)["seq"] for line in out.splitlines()} == {500}


def test_client_that_does_not_read_hurts_nobody(penstockd: MakeDaemon, config: Config) -> None:
    daemon = penstockd(config)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket_path))
        client.sendall(b"GET /tail?from=oldest HTTP/1.1\r\nHost: penstock\r\n\r\n")
        for first in range(0, 1000, 50):
            daemon.send(readings(200, first=first))
            time.sleep(0.005)
        ledger = daemon.received(4000)
        assert ledger["readings"]["recorded"] == 4000
        daemon.stop(timeout_s=20)
    daemon.start()


def test_metrics_are_text(penstockd: MakeDaemon, config: Config) -> None:
    daemon = penstockd(config)
    daemon.send(readings(8))
    daemon.received(8)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket_path))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    head, body = answer.split("\r\n\r\n", 1)
    assert " 200 " in head.splitlines()[0]
    assert "text/plain; version=0.0.4" in head
    assert "\npenstock_recorded_readings_total 8\n" in body
    assert '\npenstock_rejected_datagrams_total{reason="utf8"} 0\n' in body


def test_journal_dump_agrees_with_the_output(penstockd: MakeDaemon, config: Config) -> None:
    daemon = penstockd(config)
    daemon.send(readings(60))
    daemon.received(60)
    daemon.delivered("file")
    daemon.stop()
    lines: list[str] = []
    for segment in sorted(Path(config["journal"]["dir"]).glob("*.seg")):
        done = daemon.penstock("journal", "dump", str(segment), "--records")
        assert done.returncode == 0, done.stderr
        lines += done.stdout.splitlines()
    dumped = {r["id"] for r in map(json.loads, lines) if r["kind"] == "reading"}
    assert dumped == {r["id"] for r in lines_of(config) if r["kind"] == "reading"}
    assert len(dumped) == 60
    daemon.start()


def test_exit_statuses_of_the_client(penstockd: MakeDaemon, config: Config) -> None:
    daemon = penstockd(config)
    assert daemon.penstock("version").returncode == 0
    assert daemon.penstock("status", "--help").returncode == 0
    assert daemon.penstock("nothing").returncode == 2
    assert daemon.penstock("status", "--settle").returncode == 2
    assert daemon.penstock("journal", "dump", str(daemon.config_path)).returncode == 5
    nobody = daemon.penstock("status", "--socket", "/nonexistent/api.sock")
    assert nobody.returncode == 3
    assert "is penstockd running" in nobody.stderr
    by_config = daemon.penstock("status", "--config", str(daemon.config_path))
    assert by_config.returncode == 0
    assert "under-test" in by_config.stdout
    for verb in ("status", "ledger", "top"):
        assert daemon.penstock(verb).returncode == 0


@pytest.mark.parametrize("args", [("status",), ("ledger",), ("top",), ("tail", "--no-follow")])
def test_output_that_cannot_be_written(
    penstockd: MakeDaemon, config: Config, args: tuple[str, ...]
) -> None:
    daemon = penstockd(config)
    daemon.send(readings(4))
    daemon.received(4)
    more = ["--from", "oldest"] if args[0] == "tail" else []
    command = [str(daemon.build / "control" / "penstock"), *args, *more]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*command, "--socket", str(daemon.socket_path)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=10,
        )
    assert done.returncode == 5, done.stderr
    assert done.stderr.count("\n") == 1


def test_daemon_that_goes_away_is_no_daemon_that_is_not_there(
    build_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer_half() -> None:
            client, _ = server.accept()
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            client.close()

        thread = threading.Thread(target=answer_half)
        thread.start()
        done = subprocess.run(
            [str(build_dir / "control" / "penstock"), "status", "--socket", str(path)],
            capture_output=True,
            text=True,
            timeout=10,
        )
        thread.join()
    assert done.returncode == 3
    assert "went away" in done.stderr
    assert "no daemon answers" not in done.stderr


def test_ledger_that_does_not_settle_says_so(penstockd: MakeDaemon, config: Config) -> None:
    config["outputs"].append(
        {"name": "k", "type": "kafka", "brokers": "127.0.0.1:1", "topics": {"readings": "r"}}
    )
    daemon = penstockd(config, settle=False)  # its broker is not there: it is killed
    daemon.send(readings(4))
    daemon.received(4)
    wait_until("spooled", lambda: daemon.ask("ledger")["outputs"][1]["spooled"] > 0)
    done = daemon.penstock("ledger", "--settle", "0.3", "--delivered")
    assert done.returncode == 1
    assert "not settled" in done.stderr
    daemon.kill()
