"""./dev demo, short: what a newcomer sees first has to work."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "deploy" / "demo"))

import scores  # noqa: E402
import world  # noqa: E402

MARKER = "PENSTOCK_TEST_OF_DEMO"  # every program of the demo inherits it
DEMO = ["/usr/bin/python3", str(ROOT / "deploy" / "demo" / "demo.py")]


def start(build_dir: Path, *args: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PENSTOCK_BUILD": str(build_dir), MARKER: str(build_dir)}
    return subprocess.Popen(
        [*DEMO, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        start_new_session=True,
    )


def left_running(build_dir: Path) -> list[str]:
    """Programs of the demo that are still there: penstockd, simulators, the broker."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if f"{MARKER}={build_dir}".encode() in environment:
            found.append(process.name)
    return found


@pytest.mark.parametrize("kafka", [False, True])
def test_demo_ends_with_a_balanced_ledger(build_dir: Path, kafka: bool) -> None:
    demo = start(build_dir, "--seconds", "8", *(["--kafka"] if kafka else []))
    out, _ = demo.communicate(timeout=120)
    assert demo.returncode == 0, out
    assert "The ledger is balanced" in out
    assert "nothing is unexplained" in out
    assert ("read back from Kafka" in out) == kafka
    assert "CC BY 4.0" in out
    assert "recordings that no model has learned from" in out
    assert "status, right" in out and "always the commonest class" in " ".join(out.split())
    assert "\033" not in out, "escape sequences are for terminals"
    assert max(map(len, out.splitlines())) <= 110
    assert not left_running(build_dir)


@pytest.mark.parametrize("kafka", [False, True])
def test_demo_that_is_broken_off_still_sums_up(build_dir: Path, kafka: bool) -> None:
    demo = start(build_dir, "--seconds", "60", *(["--kafka"] if kafka else []))
    time.sleep(12 if kafka else 5)
    os.killpg(demo.pid, signal.SIGINT)  # as a terminal does
    out, _ = demo.communicate(timeout=40)
    assert demo.returncode == 130, out
    assert "The ledger is balanced" in out
    assert ("read back from Kafka" in out) == kafka
    assert not left_running(build_dir)


def test_second_interrupt_ends_it_at_once(build_dir: Path) -> None:
    demo = start(build_dir, "--seconds", "60")
    time.sleep(4)
    os.kill(demo.pid, signal.SIGINT)
    os.kill(demo.pid, signal.SIGTERM)
    demo.communicate(timeout=20)
    assert demo.returncode == 130
    assert not left_running(build_dir)


@pytest.mark.parametrize("args", [["--seconds", "1"], ["--data", "/nonexistent"], ["--colour"]])
def test_wrong_arguments_are_told(build_dir: Path, args: list[str]) -> None:
    demo = start(build_dir, *args)
    out, _ = demo.communicate(timeout=10)
    assert demo.returncode == 2 and "usage: ./dev demo" in out


def test_what_is_streamed_no_model_has_learned_from(tmp_path: Path) -> None:
    split = json.loads((ROOT / "deploy" / "models" / "sensors" / "split.json").read_text())["demo"]
    learned = {Path(name).name for name in split["must_not_stream"]}
    streamed = {path.name for path in world.held_out(tmp_path / "data").iterdir()}
    shipped = {p.name for p in (ROOT / "firmware-sim" / "data").glob("*.csv")}
    assert streamed and not streamed & learned
    assert streamed | learned == shipped


def _record(second: int, **more: Any) -> bytes:  # noqa: ANN401 - parts of a record
    record = {
        "@timestamp": f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000Z",
        "kind": "reading",
        "sensor": "site-1",
        "boot": 7,
        "seq": second,
        "index": 0,
        "values": {"temperature": 20.0, "humidity": 40.0},
        "scores": {
            "status": {"version": 1, "class": 0, "label": "ok", "probability": 0.9},
            "anomaly": {"version": 1, "class": 0, "label": "ordinary", "probability": 0.1},
            "humidity": {"version": 1, "value": 43.0},
        },
    }
    for name, part in more.items():
        record["scores"][name] = part
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def test_scores_are_judged_by_the_labels(tmp_path: Path) -> None:
    records, labels = tmp_path / "records.jsonl", tmp_path / "labels.csv"
    fault = "{},site-1,7,{},0,temperature,{},20,21,{}\n"
    labels.write_text(
        "event_ns,sensor,boot,seq,index,field,fault,true_value,sent_value,off_sigma\n"
        + fault.format(0, 1, "noise", 0.4)  # within what the sensor does anyway
        + fault.format(0, 2, "drift", 0.5)
        + fault.format(0, 3, "stuck", "inf")
        + fault.format(0, 4, "noise", 6)
        + "0,site-1,7,6,0,,recorded,,,\n"
    )
    (tmp_path / "records.jsonl.1").write_bytes(_record(0) + _record(1) + _record(2))
    (tmp_path / "records.jsonl.lock").write_bytes(b"")
    records.write_bytes(
        _record(3, status={"version": 1, "class": 2, "label": "faulty"})
        + _record(4, status={"version": 1, "class": 1, "label": "degraded"})
        + _record(5, anomaly={"version": 1, "missing": True})
        + _record(6, anomaly={"version": 1, "class": 1, "label": "anomaly"})
        + _record(7)  # the event is still in its windows
        + _record(306)
        + _record(8).replace(b"site-1", b"yard-1")
    )
    j = scores.judge(records, labels, "site-")
    assert (j.readings, j.unscored, j.during_events) == (9, 1, 2)
    assert dict(j.said) == {(0, 0): 3, (1, 0): 1, (2, 2): 1, (2, 1): 1}
    assert j.accuracy == 4 / 6 and j.majority == 3 / 6
    assert j.not_ok == (3, 2) and j.false_alarms == 0
    assert (j.events, j.events_found) == (1, 1)
    assert j.anomaly_accuracy == 1 and j.never == 7 / 8
    assert j.rmse == 3 and j.spread == 0
    assert j.versions == {"status": 1, "anomaly": 1, "humidity": 1}
