"""penstock-sim itself: what it says about its own runs, and whether it may be believed."""

import csv
import errno
import json
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import records
from daemon import Config, Daemon
from kafka import KafkaServer

Start = Callable[..., Daemon]
Sim = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sink() -> Iterator[str]:
    """Somewhere to send to where nobody reads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{s.getsockname()[1]}"


def program(build: Path) -> Path:
    return build / "firmware-sim" / "penstock-sim"


def run(build: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """As the fixture `sim`, but the caller judges the exit status."""
    command = [str(program(build)), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_phases_are_judged_by_their_own_rates(sim: Sim, sink: str) -> None:
    """seed000 asks for 100 messages/s, then for 700: over both it can reach neither."""
    args = ("--target", sink, "--seconds", "1.5", "seed000")
    result = json.loads(sim(*args, "--json").stdout)
    slow, fast = result["phases"]
    assert (slow["rate_asked"], fast["rate_asked"]) == (100, 700)
    for phase in (slow, fast):
        # a machine that stands still for long makes it lower, nothing makes it higher
        assert 0.7 * phase["rate_asked"] < phase["rate"] <= 1.05 * phase["rate_asked"]
        assert phase["messages"] == phase["readings"]
    assert slow["messages"] + fast["messages"] == result["messages"]
    assert result["seconds"] == pytest.approx(slow["seconds"] + fast["seconds"], abs=0.1)
    lines = sim(*args).stdout.splitlines()
    assert [line.split("; ")[1] for line in lines if line.startswith("phase ")] == [
        "asked for 100",
        "asked for 700",
    ]


def test_one_phase_has_one_rate(sim: Sim, sink: str) -> None:
    args = ("--target", sink, "--rate", "200", "--seconds", "0.5")
    result = json.loads(sim(*args, "--json").stdout)
    (phase,) = result["phases"]
    assert (phase["rate_asked"], phase["messages"]) == (200, result["messages"])
    assert "; asked for 200" in sim(*args).stdout


def nanoseconds(timestamp: str) -> int:
    whole, fraction = timestamp.removesuffix("Z").split(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 10**9 + int(fraction.ljust(9, "0"))


def float32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


@pytest.mark.parametrize("form", ["json", "binary"])
def test_labels_are_of_the_records(
    penstockd: Start, config: Config, sim: Sim, tmp_path: Path, form: str
) -> None:
    """Whoever learns from labels finds each in the records, its time and value alike."""
    config["inputs"][0] |= {"format": form}
    if form == "binary":
        del config["inputs"][0]["stream"]
    host, port = penstockd(config).udp_address()
    sim(
        *("--target", f"{host}:{port}", "--format", form, "--fields", "temperature,humidity"),
        *("--sensors", "8", "--threads", "4", "--readings-per-datagram", "3"),
        *("--period", "0.010000777", "--seconds", "1", "--drift", "50"),
        *("--fault", "noise,for=100", "--labels", str(tmp_path / "labels.csv")),
        *("--verify", f"file:{tmp_path / 'records.jsonl'}"),
    )
    recorded = {
        (r["sensor"], r["boot"], r["seq"], r["index"]): r
        for r in records.of_file(tmp_path / "records.jsonl")
        if r["kind"] == "reading"
    }
    with (tmp_path / "labels.csv").open(newline="") as f:
        labels = list(csv.DictReader(f))
    assert 500 < len(labels) <= len(recorded)  # the first readings lie before the episode
    for label in labels:
        place = (label["sensor"], *(int(label[key]) for key in ("boot", "seq", "index")))
        record = recorded.pop(place)
        assert (label["field"], label["fault"]) == ("temperature", "noise")
        assert nanoseconds(record["@timestamp"]) == int(label["event_ns"]), place
        sent = float32(float(label["sent_value"]))
        assert float32(record["values"]["temperature"]) == sent, place


def test_nothing_sent_proves_nothing(build_dir: Path, sink: str, tmp_path: Path) -> None:
    args = ("--target", sink, "--rate", "100", "--max-messages", "5")
    done = run(build_dir, *args, "--loss", "1", "--verify", f"file:{tmp_path / 'records'}")
    assert done.returncode == 1 and "proves nothing" in done.stdout


def test_file_that_is_not_there_is_named(build_dir: Path, sink: str, tmp_path: Path) -> None:
    """A wrong path must not look like an appliance that lost everything, or that took no time."""
    path = tmp_path / "no-such-file"
    args = ("--target", sink, "--rate", "100", "--max-messages", "5", "--verify-timeout", "0.3")
    done = run(build_dir, *args, "--verify", f"file:{path}")
    assert done.returncode == 1
    assert f"reading {path}: No such file or directory" in done.stdout
    assert f"{path}: not there yet" in done.stderr
    assert "p50" not in done.stdout
    found = json.loads(run(build_dir, *args, "--verify", f"file:{path}", "--json").stdout)["verify"]
    assert found["missing"] == 5 and found["error"] == errno.ENOENT
    assert [found[f"{what}_ms"] for what in ("arrival", "broker", "read")] == [None] * 3


@pytest.mark.parametrize("readings", [1, 4])
def test_latency_is_of_each_reading(
    penstockd: Start, config: Config, sim: Sim, tmp_path: Path, readings: int
) -> None:
    """The older readings of a message have waited for it, which must not be read as ours."""
    host, port = penstockd(config).udp_address()
    args = ["--target", f"{host}:{port}", "--format", "json", "--fields", "temperature,humidity"]
    args += ["--sensors", "4", "--period", "0.05", "--seconds", "1"]
    args += ["--readings-per-datagram", str(readings)]
    args += ["--verify", f"file:{tmp_path / 'records.jsonl'}"]
    result = json.loads(sim(*args, "--json").stdout)
    assert result["verify"]["arrival_ms"]["count"] == readings * result["messages"] > 0
    shown = sim(*args).stdout
    assert "latency      of each reading, from its event time" in shown
    assert ("in the device included" in shown) == (readings > 1)


def test_another_sender_with_the_same_ids_shows(
    build_dir: Path, penstockd: Start, config: Config, tmp_path: Path
) -> None:
    """Its readings must not make up for lost ones."""
    daemon = penstockd(config)
    host, port = daemon.udp_address()
    args = ["--target", f"{host}:{port}", "--format", "json", "--rate", "200"]
    args += ["--fields", "temperature,humidity", "--sensors", "10"]
    other = subprocess.Popen(
        [str(program(build_dir)), *args, "--seconds", "2"], stdout=subprocess.DEVNULL
    )
    verify = ("--verify", f"file:{tmp_path / 'records.jsonl'}")
    done = run(build_dir, *args, "--seconds", "1", "--json", *verify)
    assert other.wait(30) == 0
    found = json.loads(done.stdout)["verify"]
    assert done.returncode == 1 and found["unsent"] > 0
    assert found["distinct"] == found["expected"] == found["received"] > 100


@pytest.mark.parametrize("stamped_by", ["LogAppendTime", "CreateTime"])
def test_latency_to_the_broker(
    penstockd: Start, config: Config, sim: Sim, kafka: KafkaServer, stamped_by: str
) -> None:
    """Only a topic that the broker stamps tells it; from others it must not be made up."""
    topic = f"sim-{stamped_by.lower()}"
    kafka.create_topic(topic, 2, message_timestamp_type=stamped_by)
    config["outputs"] = [
        {
            "name": "kafka",
            "type": "kafka",
            "brokers": kafka.bootstrap,
            "topics": {"readings": topic},
        }
    ]
    host, port = penstockd(config).udp_address()
    done = sim(
        *("--target", f"{host}:{port}", "--format", "json", "--fields", "temperature,humidity"),
        *("--rate", "200", "--seconds", "1.5", "--sensors", "10"),
        *("--verify", f"kafka:{kafka.bootstrap}/{topic}", "--json"),
    )
    found = json.loads(done.stdout)["verify"]
    arrival, broker, read = (found[f"{what}_ms"] for what in ("arrival", "broker", "read"))
    assert arrival["count"] == read["count"] == found["distinct"]
    if stamped_by == "CreateTime":
        assert broker is None
        return
    assert broker["count"] == found["distinct"]
    # In whole milliseconds, cut; percentiles are right within 1.6 %.
    assert 0.98 * arrival["p50"] - 1 <= broker["p50"] <= 1.02 * read["p50"]
    assert broker["max"] <= read["max"]
