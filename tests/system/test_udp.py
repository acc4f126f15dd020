"""What comes in by UDP and what comes out of it: the path of a reading, end to end."""

import json
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import records
from daemon import Config, Daemon, free_udp_port, wait_until
from sender import sending
from wire import DELTA_MS, MISSING_I16, NO_TIME, binary, reading, text

Start = Callable[..., Daemon]
Sim = Callable[..., subprocess.CompletedProcess[str]]
NOW = 1_700_000_000_000_000_000


def two_inputs(config: Config) -> Config:
    """Input 0 takes JSON, input 1 binary."""
    listen = f"127.0.0.1:{free_udp_port()}"
    config["inputs"].append({"name": "binary", "format": "binary", "listen": listen})
    return config


def nanoseconds(timestamp: str) -> int:
    """Of docs/record.md's times, exactly: datetime knows microseconds alone."""
    whole, fraction = timestamp.removesuffix("Z").split(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 10**9 + int(fraction.ljust(9, "0"))


def test_values_arrive_as_they_were_sent(penstockd: Start, config: Config, tmp_path: Path) -> None:
    two_inputs(config)["streams"][0]["tags"] = ["lot"]
    config["streams"][0]["fields"][0] |= {"scale": 0.25, "offset": -40.0}
    daemon = penstockd(config)
    f32 = binary("bin", [[21.5, None], [22.25, 40.0]], time_ns=NOW, step_ns=250_000, tags=[b"L-7"])
    i16 = binary("i16", [[246, MISSING_I16]], scaled=True, number=(9, 5), time_ns=NOW)
    daemon.send([f32, i16], index=1)
    daemon.send(
        [
            text(
                [
                    reading("json", 3, 9, time="2023-11-14T22:13:20.5Z", temperature=1e-3, lot="Å"),
                    reading("17", time=NOW / 1e9, humidity=None, temperature=-7),
                ]
            )
        ]
    )
    daemon.received(3)
    daemon.delivered()
    found = {
        (r["sensor"], nanoseconds(r["@timestamp"]) - NOW): r
        for r in records.of_file(tmp_path / "records.jsonl")
        if r["kind"] == "reading"
    }
    assert {k: r["values"] for k, r in found.items()} == {
        ("bin", 0): {"temperature": 21.5},
        ("bin", 250_000): {"temperature": 22.25, "humidity": 40.0},
        ("i16", 0): {"temperature": 21.5},
        ("json", 500_000_000): {"temperature": 0.001},
        ("17", 0): {"temperature": -7.0},
    }
    assert found["bin", 0]["tags"] == {"lot": "L-7"}
    assert found["json", 500_000_000]["tags"] == {"lot": "Å"}
    numbers = {k[0]: (r.get("boot"), r.get("seq")) for k, r in found.items()}
    assert numbers == {"bin": (None, None), "i16": (9, 5), "json": (9, 3), "17": (None, None)}


def test_time_of_a_device_without_clock_is_its_arrival(
    penstockd: Start, config: Config, tmp_path: Path
) -> None:
    daemon = penstockd(two_inputs(config))
    before = time.time_ns()
    daemon.send([binary("blind", [[20.0, 40.0]], time_ns=0, flags=NO_TIME)], index=1)
    daemon.send([binary("slow", [[20.0, 40.0]], time_ns=before, flags=DELTA_MS)], index=1)
    daemon.send([b'{"sensor": "also blind", "temperature": 20}'])
    daemon.received(3)
    after = time.time_ns()
    daemon.delivered()
    for r in records.of_file(tmp_path / "records.jsonl"):
        blind = r["sensor"] != "slow"
        assert ("arrival_time" in r.get("flags", [])) == blind, r
        assert before <= nanoseconds(r["@timestamp"]) <= after, r
        assert not blind or r["@timestamp"] == r["arrival"], r


def test_windows_hold_what_was_sent(penstockd: Start, config: Config, tmp_path: Path) -> None:
    """30 s / 10 s of event time in no time at all: clocks come with the readings."""
    config["streams"][0]["max_skew"] = "1h"
    daemon = penstockd(config)
    start = (time.time_ns() // 10**9 // 30 * 30 - 600) * 10**9
    daemon.send(
        text(reading("w", i, time=start + i * 10**9, temperature=float(i))) for i in range(61)
    )
    daemon.received(61)
    daemon.delivered()
    windows = {
        (nanoseconds(r["window"]["start"]) - start) // 10**9: r["window"]
        for r in records.of_file(tmp_path / "records.jsonl")
        if r["kind"] == "window"
    }
    # Lateness is 1 s: the watermark stands at 59 s.
    assert sorted(windows) == [-20, -10, 0, 10, 20]
    assert {k: w["count"] for k, w in windows.items()} == {-20: 10, -10: 20, 0: 30, 10: 30, 20: 30}
    stats = windows[10]["stats"]["temperature"]
    assert (stats["mean"], stats["min"], stats["max"], stats["last"]) == (24.5, 10, 39, 39)
    assert stats["std"] == pytest.approx(8.8034, abs=1e-4)  # of the sample: sqrt(30 * 31 / 12)


def test_numbered_datagrams_are_recorded_once(
    penstockd: Start, config: Config, tmp_path: Path
) -> None:
    daemon = penstockd(two_inputs(config))
    datagrams = [binary(f"d{i % 10}", [[20.0, 40.0]] * 3, number=(7, i // 10)) for i in range(400)]
    again = [d for d in datagrams for _ in range(3)]
    for at in range(0, len(again), 100):  # on loopback all that can lose them is a full socket
        daemon.send(again[at : at + 100], index=1)
        time.sleep(0.01)
    ledger = daemon.received(1200)
    assert ledger["readings"]["recorded"] == 1200
    assert ledger["readings"]["duplicate"] == 2400
    daemon.delivered()
    found = records.readings(records.of_file(tmp_path / "records.jsonl"))
    assert len(found) == 1200
    records.assert_distinct([r.id for r in found], "the file")


def test_what_never_came_counts_as_lost(penstockd: Start, config: Config) -> None:
    daemon = penstockd(two_inputs(config))
    sent = [n for n in range(300) if not 100 <= n < 117 and n != 200]
    for at in range(0, len(sent), 50):
        daemon.send((binary("gaps", [[1.0, 1.0]], number=(1, n)) for n in sent[at : at + 50]), 1)
        time.sleep(0.01)
    ledger = daemon.received(len(sent))
    assert ledger["readings"]["recorded"] == len(sent)
    assert ledger["lost_before_us"]["sender"] == 18


def test_older_than_the_bitmap_is_stale(penstockd: Start, config: Config) -> None:
    daemon = penstockd(two_inputs(config))
    order = [0, 1, 200, 137, 136]  # 137 is the oldest that 64 bits reach from 200
    daemon.send((binary("old", [[1.0, 1.0]], number=(1, n)) for n in order), index=1)
    ledger = daemon.received(len(order))
    assert ledger["readings"]["recorded"] == 4
    assert ledger["readings"]["dropped"]["stale"] == 1


def test_flags_are_noted_and_carried(penstockd: Start, config: Config, tmp_path: Path) -> None:
    daemon = penstockd(config)
    now = time.time_ns()
    daemon.send(
        [
            text(reading("f", 0, time=now, temperature=20)),
            text(reading("f", 1, time=now + 3600 * 10**9, temperature=20)),  # max_skew is 1 m
            text(reading("f", 2, time=now - 40 * 10**9, temperature=20)),
            text(reading("f", 3, temperature=200, humidity=-1)),
            text(reading("f", 4, temperature=20, colour="blue")),
        ]
    )
    ledger = daemon.received(5)
    daemon.delivered()
    flags = {
        r["seq"]: set(r.get("flags", [])) - {"new_life"}
        for r in records.of_file(tmp_path / "records.jsonl")
        if r["kind"] == "reading"
    }
    assert flags == {0: set(), 1: {"future"}, 2: {"late"}, 3: {"out_of_range"}, 4: set()}
    noted = ledger["noted"]
    assert (noted["future"], noted["late"]) == (1, 1)
    assert (noted["out_of_range"], noted["unknown_key"]) == (2, 1)


def test_full_files_are_rotated(penstockd: Start, config: Config, tmp_path: Path) -> None:
    config["outputs"][0] |= {"rotate": "64KiB", "keep": 100}
    daemon = penstockd(config)
    with sending(daemon.udp_address(), rate=1500) as sender:
        time.sleep(2)
        sent = sender.finish()
    daemon.received(sum(sent.values()))
    daemon.delivered()
    files = records.rotated(tmp_path / "records.jsonl")
    assert len(files) >= 4
    for path in files[:-1]:
        # Whole blocks: the last one, of up to 64 KiB, may be three times as long in JSON.
        assert 64 << 10 <= path.stat().st_size < 320 << 10, path
        assert path.read_bytes().endswith(b"\n")
    found = records.readings(records.of_file(tmp_path / "records.jsonl"))
    records.assert_in_order(found, "the files")
    assert {k: len(v) for k, v in records.sequences(found).items()} == sent


def test_only_so_many_files_are_kept(penstockd: Start, config: Config, tmp_path: Path) -> None:
    config["outputs"][0] |= {"rotate": "64KiB", "keep": 2}
    daemon = penstockd(config)
    with sending(daemon.udp_address(), rate=1500) as sender:
        time.sleep(1.5)
        sent = sender.finish()
    daemon.received(sum(sent.values()))
    ledger = daemon.delivered()
    assert len(records.rotated(tmp_path / "records.jsonl")) == 3
    assert ledger["outputs"][0]["delivered"] >= sum(sent.values())


def test_a_broken_output_stalls_no_other(penstockd: Start, config: Config, tmp_path: Path) -> None:
    with socket.socket() as closed:  # bound and not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        config["outputs"] += [
            {
                "name": "nowhere",
                "type": "kafka",
                "brokers": f"127.0.0.1:{port}",
                "topics": {"readings": "readings"},
            },
            {"name": "console", "type": "stdout", "kinds": ["readings"]},
            {"name": "again", "type": "file", "path": str(tmp_path / "again.jsonl")},
        ]
        daemon = penstockd(config)
        with sending(daemon.udp_address(), rate=500) as sender:
            time.sleep(2)
            sent = sum(sender.finish().values())
        daemon.received(sent)
        ledger = daemon.delivered("file", "console", "again")
        spooled = {o["name"]: o["spooled"] for o in ledger["outputs"]}
        assert spooled["nowhere"] >= sent
        for name in ("records.jsonl", "again.jsonl"):
            found = records.of_file(tmp_path / name)
            assert sum(r["kind"] == "reading" for r in found) == sent
        on_console = [line for line in daemon.log.splitlines() if '"kind":"reading"' in line]
        assert len(on_console) == sent
        state = {o["name"]: o for o in daemon.ask("status")["outputs"]}
        assert state["nowhere"]["trouble"]
        assert state["nowhere"]["oldest_age_s"] > 1
        assert state["file"]["trouble"] == ""


def test_stop_under_load_loses_nothing_taken_over(
    penstockd: Start, config: Config, tmp_path: Path
) -> None:
    config["workers"] = 2
    daemon = penstockd(config)
    with sending(daemon.udp_address(), rate=4000, sensors=50):
        wait_until("readings", lambda: daemon.ask("ledger")["readings"]["recorded"] > 4000)
        daemon.stop()
    last = [line for line in daemon.log.splitlines() if "ledger" in line][-1]
    assert "ledger closed" in last and "spooled 0" in last
    recorded = int(last.split("recorded ")[1].split()[0])
    found = records.readings(records.of_file(tmp_path / "records.jsonl"))
    assert len(found) == recorded
    records.assert_distinct([r.id for r in found], "the file")
    records.assert_in_order(found, "the file")
    daemon.start()  # for the ledger at the end
    assert daemon.ask("status")["start"]["clean"]


def test_memory_journal_needs_no_directory(
    penstockd: Start, config: Config, tmp_path: Path
) -> None:
    config["journal"] = {"sync": "off"}
    config["outputs"] = [{"name": "console", "type": "stdout"}]
    daemon = penstockd(config)
    daemon.send(text(reading(f"m{i}", 0, temperature=1)) for i in range(50))
    daemon.received(50)
    daemon.delivered()
    assert daemon.log.count('"kind":"reading"') == 50
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("form", ["json", "binary"])
@pytest.mark.parametrize("way", ["file", "api"])
def test_simulator_reads_back_what_its_devices_sent(
    penstockd: Start, config: Config, sim: Sim, tmp_path: Path, form: str, way: str
) -> None:
    """Over a network that doubles and shuffles; each reading comes back once."""
    index = ["json", "binary"].index(form)
    two_inputs(config)["workers"] = 2
    daemon = penstockd(config)
    host, port = daemon.udp_address(index)
    where = {"file": tmp_path / "records.jsonl", "api": daemon.socket_path}[way]
    done = sim(
        *("--target", f"{host}:{port}", "--format", form, "--numbered", "--json", "--seed", "1"),
        *("--fields", "temperature,humidity", "--sensors", "40", "--readings-per-datagram", "3"),
        *("--period", "0.02", "--seconds", "1.5", "--dup", "0.05", "--reorder", "0.05"),
        *("--verify", f"{way}:{where}"),
    )
    result = json.loads(done.stdout)
    assert result["network"]["duplicated"] > 0 and result["network"]["reordered"] > 0
    verify = result["verify"]
    assert verify["distinct"] == verify["received"] == result["readings"] > 2000
    assert (verify["missing"], verify["duplicates"], verify["unparsed"]) == (0, 0, 0)
    ledger = daemon.quiet()
    assert ledger["readings"]["recorded"] == result["readings"]
    assert ledger["readings"]["duplicate"] == 3 * result["network"]["duplicated"]
