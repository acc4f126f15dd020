"""Several workers give the records of one; each runs where it was told to."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import records
from daemon import Config, Daemon, wait_until
from wire import reading, text

Start = Callable[..., Daemon]
SENSORS, TURNS = 60, 70
START_NS = (time.time_ns() // 10**9 // 60 * 60 - 600) * 10**9


def load() -> Iterator[tuple[int, bytes]]:
    """
    Readings a second apart, four sensors a datagram, so that most have several owners; and which of
    the senders each comes from.
    """
    for turn in range(TURNS):
        for first in range(0, SENSORS, 4):
            yield (
                first // 4,
                text(
                    [
                        reading(
                            f"s{i}",
                            turn,
                            time=START_NS + turn * 10**9,
                            temperature=20 + (i * turn) % 17 / 8,
                            humidity=40.5,
                        )
                        for i in range(first, first + 4)
                    ]
                ),
            )


def essence(record: records.Record) -> tuple:
    """What must not depend on the number of workers: all but when it came."""
    left = {k: v for k, v in record.items() if k not in ("arrival", "id")}
    return record["kind"], record["sensor"], record["@timestamp"], repr(sorted(left.items()))


@pytest.fixture(scope="module")
def of_one_worker() -> dict[str, list[tuple]]:
    """Filled by the first of the parametrised runs, which has one worker."""
    return {}


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_same_records(
    penstockd: Start,
    config: Config,
    tmp_path: Path,
    workers: int,
    of_one_worker: dict[str, list[tuple]],
) -> None:
    config["workers"] = workers
    config["streams"][0]["max_skew"] = "1h"
    daemon = penstockd(config)
    count = 0
    with ExitStack() as stack:
        ports = [
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            for _ in range(SENSORS // 4)
        ]
        for count, (sender, datagram) in enumerate(load(), 1):
            ports[sender].sendto(datagram, daemon.udp_address())
            if count % 50 == 0:
                time.sleep(0.005)
    ledger = daemon.received(count)
    assert ledger["readings"]["recorded"] == SENSORS * TURNS
    daemon.delivered()
    found = records.of_file(tmp_path / "records.jsonl")
    records.assert_distinct(records.ids(found), "the file")
    records.assert_in_order(records.readings(found), "the file")
    assert sum(r["kind"] == "window" for r in found) > SENSORS * 4
    same = sorted(essence(r) for r in found)
    assert same == of_one_worker.setdefault("records", same)
    of_workers = daemon.ask("status")["workers"]
    assert [w["index"] for w in of_workers] == list(range(workers))
    assert sum(w["sensors"] for w in of_workers) == SENSORS
    assert all(w["sensors"] for w in of_workers)


def test_the_bound_of_sensors_is_of_all_workers(penstockd: Start, config: Config) -> None:
    """limits.per_stream is kept exactly, also by what a start brings back and when it is lowered"""
    config["workers"] = 4
    config["limits"] = {"per_stream": [{"stream": "climate", "sensors": 8}]}
    daemon = penstockd(config)
    names = [f"s{i}" for i in range(200)]
    daemon.send(text(reading(name, temperature=20.0)) for name in names)
    ledger = daemon.received(200)
    assert ledger["readings"]["recorded"] == 8
    assert ledger["readings"]["dropped"]["sensor_limit"] == 192
    for sent, sensors in ((400, 8), (600, 5)):
        daemon.stop()
        config["limits"]["per_stream"][0]["sensors"] = sensors
        daemon.write_config()
        daemon.start()
        assert daemon.ask("status")["start"]["sensors"] == sensors
        daemon.send(text(reading(f"new-{name}", temperature=20.0)) for name in names)
        daemon.received(sent)
        assert sum(w["sensors"] for w in daemon.ask("status")["workers"]) == sensors


def worker_threads(pid: int) -> dict[str, set[int]]:
    """Name of each worker's thread to the cores it may run on, as the kernel says."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        if name.startswith("worker-"):
            lines = (task / "status").read_text().splitlines()
            allowed = next(line for line in lines if line.startswith("Cpus_allowed_list:"))
            cores: set[int] = set()
            for part in allowed.split()[1].split(","):
                low, _, high = part.partition("-")
                cores |= set(range(int(low), int(high or low) + 1))
            found[name] = cores
    return found


def bound_udp_ports() -> set[int]:
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return {int(line.split()[1].rsplit(":", 1)[1], 16) for line in lines}


def memory_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(x.split()[1]) for x in lines if x.startswith(("VmRSS:", "HugetlbPages:")))


def test_packets_come_when_every_worker_is_ready(penstockd: Start, config: Config) -> None:
    """
    A worker that receives while others still populate their rings steers into full rings; a socket
    bound before overflows.
    """
    config["workers"] = 4
    config["journal"]["ring"] = "32MiB"
    daemon = penstockd(config, start=False)
    daemon.spawn()
    port, deadline = daemon.udp_address()[1], time.monotonic() + 20
    while port not in bound_udp_ports():  # at once: the moment passes
        assert daemon.running and time.monotonic() < deadline, daemon.log
    assert len(worker_threads(daemon.pid)) == 4
    assert memory_kib(daemon.pid) > 4 * (32 << 10)
    wait_until("ready", lambda: " ready\n" in daemon.log or daemon.log.endswith(" ready"))
    daemon.send(text(reading(f"s{i}", temperature=20.0)) for i in range(100))
    assert daemon.received(100)["readings"]["recorded"] == 100


@pytest.mark.parametrize("workers", ["auto", "list", 4])
def test_affinity_shown_is_the_kernels(
    penstockd: Start, config: Config, workers: str | int
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    config["workers"] = cores[::-1] if workers == "list" else workers
    daemon = penstockd(config)
    shown = {f"worker-{w['index']}": w for w in daemon.ask("status")["workers"]}
    assert {name: set(w["affinity"]) for name, w in shown.items()} == worker_threads(daemon.pid)
    for w in shown.values():
        assert w["affinity"] == [w["core"]]
    on = [shown[f"worker-{i}"]["core"] for i in range(len(shown))]
    if workers == "list":
        assert on == cores[::-1]
    elif workers == 4:
        assert on == [cores[i % len(cores)] for i in range(4)]
