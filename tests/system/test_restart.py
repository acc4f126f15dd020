"""Stops, kills, and what comes back after them."""

import time
from collections.abc import Callable
from pathlib import Path

import records
from daemon import Config, Daemon, wait_until
from sender import BOOT, Sender, sending
from wire import reading, text

Start = Callable[..., Daemon]
SEEN = 64  # sequences that the duplicate bitmap reaches back


def run_until(daemon: Daemon, more: int) -> int:
    """Waits for `more` readings beyond those there; how many there are then."""
    begin = daemon.ask("ledger")["readings"]["recorded"]

    def enough() -> bool:
        return daemon.ask("ledger")["readings"]["recorded"] >= begin + more

    wait_until(f"{more} more readings", enough)
    return begin + more


def check_stream(daemon: Daemon, sender: Sender, path: Path) -> set[str]:
    """
    After the end of the sender: what the file holds is what was recorded, in order, each once, and
    what the devices miss is what the appliance says was lost before it. Returns all ids.
    """
    sent = sender.finish()
    daemon.quiet()
    ledger = daemon.delivered()
    found = records.of_file(path)
    records.assert_distinct(records.ids(found), "the file")
    readings = records.readings(found)
    records.assert_in_order(readings, "the file")
    assert len(readings) == ledger["readings"]["recorded"]
    here = records.sequences(readings)
    lost = 0
    for name, count in sent.items():
        assert max(here[name]) == count - 1, f"{name}: the last one is missing"
        missing = set(range(count)) - here[name]
        assert all(n < count - SEEN for n in missing), f"{name}: lost while the daemon ran"
        lost += len(missing)
    assert lost > 0, "the daemon was not away long enough for this test"
    assert ledger["lost_before_us"]["sender"] == lost
    return {r.id for r in readings}


def test_stop_and_start_in_mid_stream(penstockd: Start, config: Config, tmp_path: Path) -> None:
    config["workers"] = 2
    daemon = penstockd(config)
    with sending(daemon.udp_address(), rate=800, sensors=8) as sender:
        run_until(daemon, 800)
        daemon.stop()
        before = records.readings(records.of_file(tmp_path / "records.jsonl"))
        time.sleep(0.5)
        daemon.start()
        status = daemon.ask("status")
        assert status["start"]["clean"] and not status["start"]["first"]
        assert status["start"]["replayed"] >= len(before)
        assert status["start"]["sensors"] == 8
        assert daemon.ask("ledger")["readings"]["recovered"] == 0
        run_until(daemon, SEEN * 8 + 400)
        everything = check_stream(daemon, sender, tmp_path / "records.jsonl")
    assert {r.id for r in before} <= everything


def test_kill_in_mid_stream(penstockd: Start, config: Config, tmp_path: Path) -> None:
    config["workers"] = 2
    daemon = penstockd(config)
    path = tmp_path / "records.jsonl"
    epochs = [daemon.ask("status")["epoch"]]
    kept: set[str] = set()
    with sending(daemon.udp_address(), rate=800, sensors=8) as sender:
        for _ in range(2):
            run_until(daemon, 900)
            daemon.kill()
            kept |= {r.id for r in records.readings(records.of_file(path))}
            time.sleep(0.3)
            daemon.start()
            status = daemon.ask("status")
            epochs.append(status["epoch"])
            assert not status["start"]["clean"]
            assert status["start"]["damaged_regions"] == 0
            assert daemon.ask("ledger")["readings"]["recovered"] > 0
        run_until(daemon, SEEN * 8 + 400)
        everything = check_stream(daemon, sender, path)
    assert kept <= everything, "what was in the file before a kill is no longer in it"
    assert epochs == sorted(set(epochs))


def test_windows_survive_a_kill(penstockd: Start, config: Config, tmp_path: Path) -> None:
    """An open window goes on where it was: the same count, and no window twice."""
    config["streams"][0] |= {"max_skew": "1h", "windows": [{"size": "60s"}]}
    daemon = penstockd(config)
    start = (time.time_ns() // 10**9 // 60 * 60 - 1200) * 10**9

    def send(first: int, count: int) -> None:
        daemon.send(
            text(reading(s, n, BOOT, time=start + n * 10**9, temperature=float(n)))
            for n in range(first, first + count)
            for s in ("a", "b")
        )

    send(0, 90)
    daemon.received(180)
    daemon.kill()
    daemon.start()
    send(80, 60)  # the first ten were there already
    wait_until("all", lambda: daemon.settle()["readings"]["recorded"] == 2 * 140)
    ledger = daemon.delivered()
    assert ledger["readings"]["duplicate"] == 20
    found = records.of_file(tmp_path / "records.jsonl")
    records.assert_distinct(records.ids(found), "the file")
    windows = sorted(
        (r["sensor"], r["window"]["count"], r["window"]["stats"]["temperature"]["mean"])
        for r in found
        if r["kind"] == "window"
    )
    assert windows == [(s, 60, mean) for s in ("a", "b") for mean in (29.5, 89.5)]


def test_alert_raised_before_a_kill_clears_after_it(
    penstockd: Start, config: Config, tmp_path: Path
) -> None:
    config["streams"][0]["alerts"] = [
        {"name": "hot", "type": "above", "field": "temperature", "threshold": 30, "hysteresis": 2}
    ]
    daemon = penstockd(config)
    daemon.send([text(reading("a", 0, BOOT, temperature=31))])
    daemon.received(1)
    daemon.kill()
    daemon.start()
    daemon.send([text(reading("a", n, BOOT, temperature=t)) for n, t in ((1, 32), (2, 27))])
    wait_until("all", lambda: daemon.settle()["readings"]["recorded"] == 3)
    daemon.delivered()
    alerts = [
        (r["alert"]["state"], r["alert"]["value"], r["alert"]["cause"])
        for r in records.of_file(tmp_path / "records.jsonl")
        if r["kind"] == "alert"
    ]
    assert [a[:2] for a in alerts] == [("raise", 31.0), ("clear", 27.0)]
    assert alerts[0][2] == alerts[1][2], "both name the reading that raised it"


def test_sensor_that_is_not_forgotten_is_known_after_a_restart(
    penstockd: Start, config: Config
) -> None:
    """However much others have sent since: what it said last is still in the journal."""
    config["journal"]["segment"] = "1MiB"
    daemon = penstockd(config)
    early = [text([reading("early", n, BOOT, temperature=1) for n in range(10)])]
    daemon.send(early)
    with sending(daemon.udp_address(), rate=5000, sensors=20):
        segments = lambda: daemon.ask("status")["journal"]["segments"]  # noqa: E731
        wait_until("three segments", lambda: segments()["made"] >= 4)
    daemon.quiet()
    daemon.delivered()
    assert segments()["freed"] == 0
    daemon.stop()
    daemon.start()
    assert daemon.ask("top", "--sensor", "early")["sensors"][0]["readings"] == 10
    daemon.send(early)
    wait_until("duplicates", lambda: daemon.settle()["readings"]["duplicate"] == 10)


def test_new_output_starts_where_its_config_says(
    penstockd: Start, config: Config, tmp_path: Path
) -> None:
    config["journal"]["retention"] = "1h"
    daemon = penstockd(config)
    daemon.send(text(reading("a", n, temperature=1)) for n in range(20))
    daemon.received(20)
    daemon.delivered()
    daemon.stop()
    for name in ("end", "oldest"):
        output = {"name": name, "type": "file", "path": str(tmp_path / name), "from": name}
        daemon.config["outputs"].append(output)
    daemon.write_config()
    daemon.start()
    daemon.send(text(reading("a", n, temperature=1)) for n in range(20, 30))
    wait_until("all", lambda: daemon.settle()["readings"]["recorded"] == 30)
    daemon.delivered()
    for name, count in (("end", 10), ("oldest", 30), ("records.jsonl", 30)):
        found = records.readings(records.of_file(tmp_path / name))
        assert [r.seq for r in found] == list(range(30 - count, 30)), name
