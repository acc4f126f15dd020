"""What must not hurt: a bad datagram counts under exactly one reason, bad configs are told whole,
bad disks are survived."""

import contextlib
import math
import os
import random
import re
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import records
from daemon import Config, Daemon, free_udp_port, wait_until
from sender import sending
from wire import NO_TIME, binary, reading, text

Start = Callable[..., Daemon]
GOOD = binary("sensor-1", [[20.0, 40.0]], number=(1, 1), tags=[b"a"])
ROW = [20.0, 40.0]
YEAR_2201 = 7_289_654_400 * 10**9


def patched(datagram: bytes, at: int, value: bytes) -> bytes:
    return datagram[:at] + value + datagram[at + len(value) :]


BINARY: list[tuple[str, bytes]] = [
    ("truncated", b""),
    ("truncated", GOOD[:31]),
    ("truncated", GOOD[:36]),
    ("truncated", GOOD[:-1]),
    ("truncated", binary("s", [ROW], count=2)),
    ("truncated", binary("s", [ROW], id_len=32)),
    ("truncated", binary("s", [ROW], count=64)),
    ("oversize", GOOD + bytes(9217 - len(GOOD))),
    ("oversize", bytes(60000)),
    ("trailing", GOOD + b"\0"),
    ("trailing", GOOD + bytes(9216 - len(GOOD))),
    ("magic", bytes(40)),
    ("magic", b"GET / HTTP/1.1\r\nHost: penstock\r\n\r\n"),
    ("version", binary("s", [ROW], version=0)),
    ("version", binary("s", [ROW], version=2)),
    ("flags", binary("s", [ROW], flags=0x80)),
    ("flags", binary("s", [ROW], reserved=1)),
    ("flags", binary("s", [ROW], boot=1)),
    ("flags", binary("s", [ROW], sequence=1)),
    ("flags", binary("s", [ROW], flags=NO_TIME, time_ns=1)),
    ("stream", binary("s", [ROW], stream=0)),
    ("stream", binary("s", [ROW], stream=2)),
    ("stream", binary("s", [ROW], stream=65535)),
    ("sensor_id", binary("", [ROW])),
    ("sensor_id", binary("x" * 33, [ROW])),
    ("sensor_id", binary("s", [ROW], id_len=255)),
    ("sensor_id", binary("a\nb", [ROW])),
    ("sensor_id", binary("a\x7fb", [ROW])),
    ("sensor_id", binary("a\u0085b", [ROW])),
    ("count", binary("s", [])),
    ("count", binary("s", [ROW] * 65)),
    ("count", binary("s", [ROW], count=255)),
    ("presence", binary("s", [ROW], fields=0)),
    ("presence", binary("s", [[*ROW, 1.0]])),
    ("presence", binary("s", [ROW], fields=65535)),
    ("presence", binary("s", [[*ROW, 1.0]], fields=2)),
    ("time", binary("s", [ROW], time_ns=-1)),
    ("time", binary("s", [ROW], time_ns=YEAR_2201)),
    ("time", binary("s", [ROW], time_ns=2**63 - 1)),
    ("time", patched(binary("s", [ROW], time_ns=0), 33, struct.pack("<i", -1))),
    ("utf8", binary(b"\xff\xfe", [ROW])),
    ("utf8", binary(b"\xc0\xaf", [ROW])),
    ("utf8", binary(b"\xed\xa0\x80", [ROW])),
    ("utf8", binary("s", [ROW], tags=[b"\xf5"])),
    ("tag", binary("s", [ROW], tags=[b"x" * 65])),
    ("tag", binary("s", [ROW], tags=[b"a", b"b"])),
]

R = {"sensor": "s", "temperature": 1.5}
JSON: list[tuple[str, bytes]] = [
    ("oversize", b" " * 9217),
    ("sensor_id", b'{"temperature": 1}'),
    ("sensor_id", b'{"sensor": ""}'),
    ("sensor_id", text({"sensor": "x" * 33})),
    ("sensor_id", b'{"sensor": "a\\u0000b"}'),
    ("sensor_id", b'{"sensor": null}'),
    ("count", b"[]"),
    ("count", text([{"sensor": "s"}] * 65)),
    ("time", text({**R, "time": "yesterday"})),
    ("time", text({**R, "time": "2023-02-30T00:00:00Z"})),
    ("time", text({**R, "time": "1969-12-31T23:59:59Z"})),
    ("time", text({**R, "time": "2201-01-01T00:00:00Z"})),
    ("time", text({**R, "time": -1})),
    ("time", text({**R, "time": 9 * 10**18})),
    ("utf8", b'{"sensor": "\xff"}'),
    ("utf8", b'{"sensor": "s", "other": "\xc3\x28"}'),
    ("utf8", b'\xff\xfe{"sensor": "s"}'),
    ("syntax", b""),
    ("syntax", b"\xef\xbb\xbf" + text(R)),
    ("syntax", b"temperature=1"),
    ("syntax", b'{"sensor": "s"'),
    ("syntax", b'{"sensor": "s"} {"sensor": "s"}'),
    ("syntax", b'{"sensor": "s", "temperature": NaN}'),
    ("syntax", b'{"sensor": "s", "temperature": 01}'),
    ("syntax", b'{"sensor": "s", "temperature": 1e400}'),
    ("syntax", b'{"sensor": "\\ud800"}'),
    ("syntax", b"17"),
    ("syntax", b'["sensor"]'),
    ("syntax", b"[" * 5000),
    ("syntax", b'{"a":' * 1800),
    ("type", text({**R, "temperature": "20"})),
    ("type", text({**R, "temperature": True})),
    ("type", text({**R, "lot": 5})),
    ("type", text({**R, "boot": 1})),
    ("type", text({**R, "seq": 1})),
    ("type", text({**R, "boot": 2**32, "seq": 1})),
    ("type", text({**R, "boot": 1, "seq": -1})),
    ("type", text({"sensor": ["s"]})),
    ("duplicate_key", b'{"sensor": "s", "sensor": "s"}'),
    ("duplicate_key", b'{"sensor": "s", "temperature": 1, "temper\\u0061ture": 1}'),
    ("tag", text({**R, "lot": "x" * 65})),
]


@pytest.mark.parametrize("form", ["binary", "json"])
def test_each_bad_datagram_has_one_reason(penstockd: Start, config: Config, form: str) -> None:
    config["streams"][0]["tags"] = ["lot"]
    config["inputs"][0]["format"] = form
    if form == "binary":
        del config["inputs"][0]["stream"]
    daemon = penstockd(config)
    wrong = []
    was = dict.fromkeys(daemon.ask("ledger")["datagrams"]["rejected"], 0)
    for n, (reason, datagram) in enumerate(BINARY if form == "binary" else JSON, 1):
        daemon.send([datagram])
        now = daemon.received(n)["datagrams"]["rejected"]
        more = {name: now[name] - was[name] for name in now if now[name] != was[name]}
        if more != {reason: 1, "total": 1}:
            wrong.append(f"{reason}: {datagram[:60]!r} ({len(datagram)} bytes) counts as {more}")
        was = now
    assert not wrong, "\n".join(wrong)
    ledger = daemon.ask("ledger")
    assert ledger["readings"]["decoded"] == 0 and ledger["datagrams"]["decoded"] == 0
    daemon.send([GOOD if form == "binary" else text(R)])
    assert daemon.received(len(BINARY if form == "binary" else JSON) + 1)["readings"]["recorded"]


def test_values_that_are_no_numbers_are_missing(
    penstockd: Start, config: Config, tmp_path: Path
) -> None:
    config["inputs"][0]["format"] = "binary"
    del config["inputs"][0]["stream"]
    daemon = penstockd(config)
    daemon.send([binary("s", [[math.nan, 40.0], [math.inf, -math.inf]])])
    ledger = daemon.received(1)
    daemon.delivered()
    assert ledger["noted"]["not_finite"] == 3
    found = [r["values"] for r in records.of_file(tmp_path / "records.jsonl")]
    assert found == [{"humidity": 40.0}, {}]


def test_noise_is_survived_and_counted(penstockd: Start, config: Config) -> None:
    """Random bytes, and good datagrams with a few bytes changed; all end somewhere."""
    config["inputs"] = [
        {"name": f, "format": f, "listen": f"127.0.0.1:{free_udp_port()}"}
        for f in ("binary", "json")
    ]
    daemon = penstockd(config)
    rng = random.Random(3)
    seeds = [GOOD, text([R, R]), text(reading("s", 1, temperature=1))]

    def noise() -> Iterator[bytes]:
        for _ in range(1000):
            yield rng.randbytes(rng.randrange(200))
            changed = bytearray(rng.choice(seeds))
            for _ in range(rng.randrange(1, 4)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            yield bytes(changed)

    for index in (0, 1):
        datagrams = list(noise())
        for at in range(0, len(datagrams), 100):
            daemon.send(datagrams[at : at + 100], index)
            time.sleep(0.005)
    ledger = daemon.received(4000)
    counts = ledger["datagrams"]
    assert counts["received"] == counts["decoded"] + counts["rejected"]["total"]
    assert counts["rejected"]["total"] > 1000


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found
    return int(found[1]) << 10


def test_a_million_ids_fit_no_more_than_the_bound(penstockd: Start, config: Config) -> None:
    """Neither memory nor the sensors that are known suffer from an id that is new each time."""
    config["workers"] = 2
    config["limits"] = {"memory": "32MiB", "new_sensors_per_s": 2000}
    config["journal"] |= {"sync": "lazy", "ring": "8MiB"}
    config["inputs"][0]["receive_buffer"] = "4MiB"
    daemon = penstockd(config)
    known = [f"known-{i}" for i in range(20)]
    daemon.send([text([reading(k, 0, temperature=1) for k in known])])
    daemon.received(1)
    before = resident_bytes(daemon.pid)
    batches = 10**6 // 64 + 1
    for n in range(batches):
        ids = range(64 * n, 64 * n + 64)
        daemon.send([b"[" + b",".join(b'{"sensor":"x%d","humidity":1}' % i for i in ids) + b"]"])
        if n % 50 == 0:
            wait_until("room", lambda n=n: daemon.ask("ledger")["datagrams"]["received"] > n - 200)
    ledger = daemon.received(batches + 1, timeout_s=60)
    dropped, recorded = ledger["readings"]["dropped"], ledger["readings"]["recorded"]
    assert ledger["readings"]["decoded"] == 64 * batches + 20
    assert recorded + dropped["total"] == ledger["readings"]["decoded"]
    assert dropped["total"] == dropped["sensor_rate"] + dropped["sensor_limit"]
    assert dropped["sensor_rate"] > 0
    assert ledger["noted"]["sensors_new"] == recorded
    grown = resident_bytes(daemon.pid) - before
    assert grown < (32 + 2 * 8 + 24) << 20, f"grew by {grown >> 20} MiB"
    daemon.send([text([reading(k, 1, temperature=1) for k in known])])
    assert daemon.received(batches + 2)["readings"]["recorded"] == recorded + 20


def test_sensors_beyond_the_bound_are_a_named_drop(penstockd: Start, config: Config) -> None:
    config["limits"] = {"per_stream": [{"stream": "climate", "sensors": 100}]}
    daemon = penstockd(config)
    daemon.send(text(reading(f"s{i}", 0, temperature=1)) for i in range(150))
    ledger = daemon.received(150)
    assert ledger["readings"]["recorded"] == 100
    assert ledger["readings"]["dropped"]["sensor_limit"] == 50


# ---- configs ----

MISTAKES = """\
name: [not, a, name]
workers: many
streams:
  - name: a
    number: 300
    fields:
      - {name: t, min: 10, max: -10}
      - {name: t}
    lateness: 5
    windows:
      - {size: 31s, slide: 10s}
    alerts:
      - {name: x, type: above, field: nothing, threshold: 1}
      - {name: x, type: sideways}
    colour: blue
inputs:
  - {name: one, format: binary, listen: "127.0.0.1:9000"}
  - {name: one, format: json, listen: "127.0.0.1:9000", stream: b}
  - {name: two, format: xml, listen: "nowhere"}
journal: {sync: sometimes}
outputs:
  - {name: f, type: file}
  - {name: k, type: kafka, brokers: "${UNSET_VARIABLE}", format: packed}
limits: {memory: 1}
api: {}
surprise: true
"""


def test_all_mistakes_of_a_config_are_told_at_once(build_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(MISTAKES)
    penstock = str(build_dir / "control" / "penstock")
    done = subprocess.run([penstock, "check", str(path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    told = {}
    for line in done.stderr.splitlines():
        place = re.match(rf"{re.escape(str(path))}:(\d+):(\d+): (\S+): (.+)", line)
        assert place, f"not file:line:column: key: message: {line}"
        told.setdefault(int(place[1]), []).append(f"{place[3]}: {place[4]}")
    lines = MISTAKES.splitlines()
    right = {"streams:", "  - name: a", "    fields:", "    windows:", "    alerts:", "inputs:",
             "outputs:", "api: {}"}  # fmt: skip
    silent = [
        f"{n}: {line}"
        for n, line in enumerate(lines, 1)
        if line not in right and n not in told and 'listen: "127.0.0.1:9000"}' not in line
    ]
    assert not silent, f"no error for these lines: {silent}\n{done.stderr}"
    for daemon_args in ([str(path)], [str(path), "--check"]):
        penstockd = str(build_dir / "control" / "penstockd")
        again = subprocess.run([penstockd, *daemon_args], capture_output=True, text=True)
        assert again.returncode == 2
        for line in done.stderr.splitlines():
            assert line in again.stderr


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"{", b"- 1\n- 2\n", b"a: &a [*a]\n", b"\xff\xfe", b"a: 1\na: 2\n", b"[" * 5000],
)
def test_what_is_no_config_is_refused(build_dir: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    penstock = str(build_dir / "control" / "penstock")
    done = subprocess.run([penstock, "check", str(path)], capture_output=True, timeout=10)
    assert done.returncode == 2
    assert str(path).encode() in done.stderr


# ---- state directories ----


@pytest.fixture
def small_disk(root_only: None, tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "penstock-test", str(where)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no tmpfs here: {done.stderr.strip()}")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_read_only_directory_is_refused(penstockd: Start, config: Config, small_disk: Path) -> None:
    (small_disk / "state").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    config["journal"]["dir"] = str(small_disk / "state")
    daemon = penstockd(config, start=False, settle=False)
    daemon.spawn()
    assert daemon.wait() == 6
    assert "read-only" in daemon.log.lower()


def test_directory_without_permission_is_refused(
    penstockd: Start, config: Config, tmp_path: Path, obeying: list[str]
) -> None:
    (tmp_path / "state").mkdir(mode=0o500)
    daemon = penstockd(config, start=False, settle=False)
    daemon.spawn(under=obeying)
    assert daemon.wait() == 6
    assert "write access" in daemon.log


def test_full_disk_is_a_named_drop_and_passes(
    penstockd: Start, config: Config, small_disk: Path
) -> None:
    """
    An output that stands still keeps the journal from freeing anything. What does not fit is
    counted; what was recorded stays; when there is room it goes on.
    """
    config["journal"] = {"dir": str(small_disk / "state"), "segment": "1MiB", "ring": "1MiB"}
    config["outputs"].append(
        {
            "name": "nowhere",
            "type": "kafka",
            "brokers": "127.0.0.1:1",
            "topics": {"readings": "readings"},
        }
    )
    daemon = penstockd(config)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(18 << 20))
    with sending(daemon.udp_address(), rate=4000, sensors=10):

        def dropped() -> bool:
            """For seconds: a mark takes less room than a batch, and fills that, one a second."""
            return daemon.ask("ledger")["readings"]["dropped"]["journal_full"] > 60000

        wait_until("journal_full", dropped, 40)
        journal = daemon.ask("status")["journal"]
        assert journal["state"] == "full" and journal["error"]
        assert journal["failures"] == 0, "a full disk is no broken one"
        wait_until("the log says so", lambda: "journal: full" in daemon.log)
        before = daemon.ask("ledger")["readings"]["recorded"]
        ballast.unlink()
        wait_until(
            "recording again",
            lambda: daemon.ask("ledger")["readings"]["recorded"] > before + 3000,
        )
        assert daemon.ask("status")["journal"]["state"] == "ok"
    daemon.quiet()
    ledger = daemon.delivered("file")
    found = records.readings(records.of_file(Path(config["outputs"][0]["path"])))
    assert len(found) == ledger["readings"]["recorded"]
    records.assert_distinct([r.id for r in found], "the file")
    records.assert_in_order(found, "the file")
    # What waits for a broker that never comes would hold up the end.
    daemon.kill()
    del daemon.config["outputs"][1]
    daemon.write_config()
    daemon.start()


@pytest.mark.parametrize("room_again", [True, False])
def test_stop_that_gave_up_on_the_disk_says_so(
    penstockd: Start, config: Config, small_disk: Path, *, room_again: bool
) -> None:
    """The disk may take more in the end, but what the workers still held by then is lost; when it
    does not, what they had handed over is lost as well, and the log says how much."""
    config["journal"] = {"dir": str(small_disk / "state"), "segment": "1MiB", "ring": "1MiB"}
    config["outputs"] = [
        {"name": "k", "type": "kafka", "brokers": "127.0.0.1:1", "topics": {"readings": "r"}}
    ]
    daemon = penstockd(config, settle=False)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(18 << 20))
    with sending(daemon.udp_address(), rate=8000, sensors=10):

        def dropped() -> bool:
            return daemon.ask("ledger")["readings"]["dropped"]["journal_full"] > 2000

        wait_until("journal_full", dropped, 40)
        assert daemon.process is not None
        daemon.process.terminate()
        wait_until("given up", lambda: "the journal takes no more" in daemon.log, 15)
        if room_again:
            ballast.unlink()
        daemon.process.terminate()
        assert daemon.wait() == 11
    daemon.process = None
    lost = re.search(r"stop: lost: (\d+) records .*, (\d+) readings", daemon.log)
    assert lost, daemon.log[-4000:]
    closed = re.search(r"ledger .* in flight (\d+); records .* \+ pending (\d+)", daemon.log)
    assert closed and (closed[2], closed[1]) == lost.groups()
    assert room_again or int(lost[1]) > 0


def fill(path: Path) -> None:
    """Takes every byte that the file system has left."""
    with path.open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
        while ballast.write(bytes(4096)):
            pass


def test_stop_that_cannot_save_a_position_says_so(
    penstockd: Start, config: Config, small_disk: Path
) -> None:
    """What was delivered goes out again: whoever stopped it must hear of that."""
    state = small_disk / "state"
    config["journal"] = {"dir": str(state), "segment": "1MiB", "ring": "1MiB", "sync": "lazy"}
    daemon = penstockd(config, settle=False)
    daemon.send([text(reading("s", 0, temperature=1))])
    daemon.received(1)
    daemon.delivered()
    fill(small_disk / "ballast")
    os.truncate(state / "output-file.pos", 0)  # a save in place needs no room otherwise
    fill(small_disk / "ballast")
    assert daemon.process is not None
    daemon.process.terminate()
    assert daemon.wait() == 11, daemon.log[-4000:]
    daemon.process = None
    assert "output file: position not saved" in daemon.log
    assert "ledger closed" in daemon.log
