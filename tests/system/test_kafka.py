"""Through a real broker: what was recorded is in the topic, in order, whatever the broker does."""

import json
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest
import records
from daemon import Config, Daemon, free_udp_port, wait_until
from kafka import KafkaServer, Message
from sender import sending
from wire import binary, reading, text

Start = Callable[..., Daemon]
Topics = dict[str, list[Message]]


def json_output(server: KafkaServer, prefix: str) -> Config:
    topics = {kind: f"{prefix}-{kind}" for kind in ("readings", "windows", "alerts")}
    return {"name": "json", "type": "kafka", "brokers": server.bootstrap, "topics": topics}


def packed_output(server: KafkaServer, prefix: str) -> Config:
    return {
        "name": "packed",
        "type": "kafka",
        "brokers": server.bootstrap,
        "format": "packed",
        "topic": f"{prefix}-packed",
    }


def make_topics(server: KafkaServer, prefix: str) -> None:
    for kind in ("readings", "windows", "alerts", "packed"):
        server.create_topic(f"{prefix}-{kind}", 3)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[KafkaServer]:
    """One that the test may stop."""
    with KafkaServer(tmp_path / "kafka") as server:
        yield server


def both_outputs(config: Config, server: KafkaServer, prefix: str) -> Config:
    config["workers"] = 2
    config["outputs"] += [json_output(server, prefix), packed_output(server, prefix)]
    return config


def by_partition(messages: list[Message]) -> list[list[Message]]:
    parts: dict[int, list[Message]] = defaultdict(list)
    for m in messages:
        parts[m.partition].append(m)
    return list(parts.values())


def packed_readings(server: KafkaServer, prefix: str) -> list[records.Reading]:
    """In the order of each partition, one partition after the other: a sensor keeps to one."""
    schemas = server.read_all(f"{prefix}-packed-schemas")
    parts = by_partition(server.read_all(f"{prefix}-packed"))
    return [r for part in parts for r in records.of_packed(part, schemas)]


def json_readings(server: KafkaServer, prefix: str) -> list[records.Reading]:
    parts = by_partition(server.read_all(f"{prefix}-readings"))
    return [r for part in parts for r in records.readings(records.of_json(part))]


def check_topics(
    server: KafkaServer, prefix: str, sent: dict[str, int], *, resent: bool = False
) -> None:
    """Every reading of every sensor in both topics, in order; each once unless sent again."""
    want = {name: set(range(count)) for name, count in sent.items()}
    for where, found in (
        ("json", json_readings(server, prefix)),
        ("packed", packed_readings(server, prefix)),
    ):
        here = records.sequences(found)
        missing = {name: want[name] - here.get(name, set()) for name in want}
        lost = sum(len(m) for m in missing.values())
        assert not lost, f"{where}: {lost} readings are missing, {missing}"
        assert here == want, where
        records.assert_in_order(found, where, resent)
        if not resent:
            records.assert_distinct([r.id for r in found], where)


def test_records_carry_key_partition_and_time(
    kafka: KafkaServer, penstockd: Start, config: Config, tmp_path: Path
) -> None:
    make_topics(kafka, "shape")
    config["streams"][0]["alerts"] = [
        {"name": "hot", "type": "above", "field": "temperature", "threshold": 30}
    ]
    both_outputs(config, kafka, "shape")["outputs"][1]["headers"] = True
    daemon = penstockd(config)
    for n in range(10):
        daemon.send(
            text([reading(f"s{i}", n, temperature=25.0 + i, humidity=40) for i in range(12)])
            for _ in (0,)
        )
    daemon.received(10)
    daemon.delivered()
    readings = kafka.read_all("shape-readings")
    in_file = {r["id"]: r for r in records.of_file(tmp_path / "records.jsonl")}
    partitions = defaultdict(set)
    for m in readings:
        assert m.key and m.value
        record = json.loads(m.value)
        assert record == in_file[record["id"]], "file and topic hold the same object"
        assert m.key.decode() == record["sensor"]
        assert dict(m.headers)["id"] == record["id"].encode()
        assert dict(m.headers)["kind"] == b"reading"
        milliseconds = record["arrival"].removesuffix("Z").split(".")[1][:3]
        assert m.timestamp_ms % 1000 == int(milliseconds), "the message's time is its arrival"
        partitions[m.key].add(m.partition)
    assert len(readings) == 120
    assert all(len(p) == 1 for p in partitions.values())
    assert len(set.union(*partitions.values())) > 1
    # The partition that the Java client's default partitioner gives each of these keys, of 3.
    assert {k.decode(): min(p) for k, p in partitions.items()} == {
        f"s{i}": java_partition(f"s{i}".encode(), 3) for i in range(12)
    }
    alerts = [json.loads(m.value or b"") for m in kafka.read_all("shape-alerts")]
    assert {a["sensor"] for a in alerts} == {f"s{i}" for i in range(6, 12)}
    appliance = int(daemon.ask("status")["appliance"], 16)
    for m in kafka.read_all("shape-packed"):
        assert m.key is not None
        key = struct.unpack("<QI", m.key)
        assert key[0] == appliance and m.partition == key[1] % 3


def raw_json() -> list[tuple[str, bytes]]:
    """(first sensor, datagram): whatever a sender may write, for it has to come back as it is."""
    plain = [
        (f"s{i}", text(reading(f"s{i}", n, temperature=n))) for n in range(20) for i in range(5)
    ]
    return [
        *plain,
        ("s1", b' \n[{"sensor" : "s1","x":[1,{"a":"\\u00e9"}]},\t{"sensor":"other"}]\r\n'),
        ("Öl-3", '{"sensor":"Öl-3","humidity":null}'.encode()),
        ("wide", text({"sensor": "wide"}).ljust(9216)),
        plain[7],  # a duplicate came, too
    ]


def raw_binary() -> list[tuple[str, bytes]]:
    numbered = [(f"b{n % 5}", binary(f"b{n % 5}", [[n, None]], number=(7, n))) for n in range(100)]
    return [
        *numbered,
        ("many", binary("many", [[1.0, 2.0]] * 64, step_ns=1000000)),
        ("x" * 32, binary("x" * 32, [[float("nan"), -0.0]], tags=[])),
    ]


def test_datagrams_come_back_as_they_came(
    kafka: KafkaServer, penstockd: Start, config: Config, tmp_path: Path
) -> None:
    """Byte for byte: in the topic, and in everything else that has them."""
    for topic in ("raw", "readings", "packed"):
        kafka.create_topic(f"raw-{topic}", 3)
    listen = f"127.0.0.1:{free_udp_port()}"
    config["inputs"].append({"name": "bin", "format": "binary", "listen": listen})
    for one in config["inputs"]:
        one["keep_raw"] = True
    both_outputs(config, kafka, "raw")
    config["outputs"][1] |= {
        "topics": {"readings": "raw-readings", "raw": "raw-raw"},
        "headers": True,
    }
    lines = tmp_path / "raw.jsonl"
    config["outputs"].append({"name": "raw", "type": "file", "path": str(lines), "kinds": ["raw"]})
    daemon = penstockd(config)
    sent = [raw_json(), raw_binary()]
    begin_ms = time.time_ns() // 1_000_000
    for index, datagrams in enumerate(sent):
        for at in range(0, len(datagrams), 10):  # each time from another port
            daemon.send((payload for _, payload in datagrams[at : at + 10]), index)
    daemon.send([b'{"sensor":'], 0)
    daemon.send([sent[1][0][1][:-1], bytes(40)], 1)
    want = sorted(sent[0] + sent[1])
    daemon.received(len(want) + 3)
    ledger = daemon.delivered()
    assert ledger["datagrams"]["rejected"]["total"] == 3
    assert ledger["records"]["raw"] == len(want)
    assert ledger["noted"]["raw_lost"] == 0

    messages = kafka.read_all("raw-raw")
    assert sorted(((m.key or b"").decode(), m.value) for m in messages) == want
    for m in messages:
        assert m.key and m.partition == java_partition(m.key, 3)
        assert dict(m.headers)["kind"] == b"raw"
        assert begin_ms <= m.timestamp_ms <= time.time_ns() // 1_000_000
    found = sorted(
        records.Payload((dict(m.headers)["id"] or b"").decode(), sensor.decode(), payload)
        for m in messages
        if (sensor := m.key) and (payload := m.value)
    )
    records.assert_distinct([p.id for p in found], "the topic")
    in_file = records.of_file(lines)
    assert sorted(records.payloads_of_json(in_file)) == found
    schema = json.loads((records.ROOT / "deploy" / "record.schema.json").read_text())
    for record in in_file:
        jsonschema.validate(record, schema)
        assert record["@timestamp"] == record["arrival"] and record["stream"] == "climate"
    blocks = kafka.read_all("raw-packed"), kafka.read_all("raw-packed-schemas")
    assert sorted(records.payloads(records.of_blocks(*blocks))) == found
    assert sorted(records.payloads(records.of_journal(tmp_path / "state"))) == found
    assert not records.payloads_of_json(records.of_file(tmp_path / "records.jsonl"))
    assert {r["kind"] for r in records.of_json(kafka.read_all("raw-readings"))} == {"reading"}
    tail = daemon.penstock("tail", "--kind", "raw", "--from", "oldest", "--no-follow", "--json")
    assert sorted(records.payloads_of_json(map(json.loads, tail.stdout.splitlines()))) == found
    (segment,) = (tmp_path / "state").glob("*.seg")
    dump = daemon.penstock("journal", "dump", str(segment), "--records")
    assert sorted(records.payloads_of_json(map(json.loads, dump.stdout.splitlines()))) == found

    daemon.kill()  # a start counts them and makes nothing else of them
    daemon.start()
    again = daemon.delivered()
    assert again["records"]["raw"] == len(want)
    assert again["readings"]["recorded"] == ledger["readings"]["recorded"]
    resent = {(dict(m.headers)["id"] or b"").decode() for m in kafka.read_all("raw-raw")}
    assert resent == {p.id for p in found}


def java_partition(key: bytes, count: int) -> int:
    """Apache Kafka, Utils.murmur2, and DefaultPartitioner's toPositive."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(key)) & mask
    whole = len(key) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if key[whole:]:
        h = (h ^ int.from_bytes(key[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return ((h ^ h >> 15) & 0x7FFFFFFF) % count


def test_broker_away_for_20_s_in_mid_stream(
    own_broker: KafkaServer, penstockd: Start, config: Config, tmp_path: Path
) -> None:
    make_topics(own_broker, "away")
    daemon = penstockd(both_outputs(config, own_broker, "away"))
    with sending(daemon.udp_address(), rate=400) as sender:
        wait_until("some delivered", lambda: sum(own_broker.end_offsets("away-readings").values()))
        own_broker.stop()
        away_until = time.monotonic() + 20
        time.sleep(5)
        outputs = {o["name"]: o for o in daemon.ask("status")["outputs"]}
        assert outputs["json"]["trouble"] and outputs["packed"]["trouble"]
        assert outputs["json"]["backlog"] > 500
        assert daemon.penstock("ledger").returncode == 0
        time.sleep(away_until - time.monotonic())
        own_broker.start()
        time.sleep(2)
        sent = sender.finish()
    daemon.received(sum(sent.values()))
    ledger = daemon.delivered(timeout_s=60)
    assert ledger["readings"]["recorded"] == sum(sent.values())
    assert all(o["dead_letter"] == 0 for o in ledger["outputs"])
    check_topics(own_broker, "away", sent)


def test_broker_down_at_start(own_broker: KafkaServer, penstockd: Start, config: Config) -> None:
    make_topics(own_broker, "late")
    own_broker.stop()
    daemon = penstockd(both_outputs(config, own_broker, "late"))
    with sending(daemon.udp_address(), rate=400) as sender:
        time.sleep(3)
        assert daemon.ask("status")["outputs"][1]["trouble"]
        own_broker.start()
        time.sleep(1)
        sent = sender.finish()
    daemon.received(sum(sent.values()))
    daemon.delivered(timeout_s=60)
    check_topics(own_broker, "late", sent)


def test_backlog_survives_a_restart(
    own_broker: KafkaServer, penstockd: Start, config: Config
) -> None:
    """The daemon is stopped while the broker is away: what waited goes out after both are back."""
    make_topics(own_broker, "spool")
    daemon = penstockd(both_outputs(config, own_broker, "spool"))
    with sending(daemon.udp_address(), rate=400) as sender:
        wait_until("some delivered", lambda: sum(own_broker.end_offsets("spool-readings").values()))
        own_broker.stop()
        time.sleep(2)
        sent = sender.finish()
    daemon.received(sum(sent.values()))
    daemon.stop(timeout_s=40)
    assert "goes out at the next start" in daemon.log
    daemon.start()
    own_broker.start()
    daemon.delivered(timeout_s=60)
    # Messages that the broker took and could not confirm any more come twice.
    check_topics(own_broker, "spool", sent, resent=True)


def test_kill_in_mid_stream_resends_with_the_same_ids(
    kafka: KafkaServer, penstockd: Start, config: Config
) -> None:
    make_topics(kafka, "kill")
    daemon = penstockd(both_outputs(config, kafka, "kill"))

    def datagrams(first: int) -> Iterator[bytes]:
        for n in range(first, first + 150):
            yield text([reading(f"s{i}", n, 5, temperature=1) for i in range(10)])
            time.sleep(0.002)

    def batch(first: int) -> None:
        daemon.send(datagrams(first))

    batch(0)
    daemon.received(150)
    batch(150)
    daemon.kill()
    daemon.start()
    batch(140)  # all of it again, and more: what had come in already is a duplicate
    daemon.quiet()
    batch(290)  # from another port, hence perhaps another worker: not before the rest is in
    daemon.quiet()
    daemon.delivered(timeout_s=60)
    found = json_readings(kafka, "kill")
    here = records.sequences(found)
    assert set(here) == {f"s{i}" for i in range(10)}
    check_topics(kafka, "kill", dict.fromkeys(here, 440), resent=True)
    places: dict[tuple, set[str]] = defaultdict(set)
    for r in found:
        places[r.sensor, r.seq].add(r.id)
    assert all(len(ids) == 1 for ids in places.values()), "an id changed on a resend"


def test_oldest_go_when_the_broker_is_away_for_long(
    own_broker: KafkaServer, penstockd: Start, config: Config, tmp_path: Path
) -> None:
    """With drop_oldest the journal stays small; what went is counted, the rest arrives in order."""
    make_topics(own_broker, "old")
    config["streams"][0] |= {"idle": "2s", "forget": "2s"}
    config["journal"] |= {
        "sync": "lazy",
        "segment": "1MiB",
        "retention_bytes": "4MiB",
        "on_full": "drop_oldest",
    }
    config["outputs"].append(json_output(own_broker, "old"))
    daemon = penstockd(config)
    own_broker.stop()
    with sending(daemon.udp_address(), rate=4000, sensors=10):

        def expired() -> bool:
            return daemon.ask("status")["journal"]["expired_records"] > 20000

        wait_until("old segments are freed", expired, 60)
    ledger = daemon.quiet()
    assert ledger["readings"]["dropped"]["total"] == 0
    daemon.delivered("file")
    assert sum(p.stat().st_size for p in (tmp_path / "state").glob("*.seg")) <= 5 << 20
    own_broker.start()
    ledger = daemon.delivered(timeout_s=60)
    outputs = {o["name"]: o for o in ledger["outputs"]}
    assert outputs["file"]["expired"] == 0
    assert outputs["json"]["expired"] > 1000
    found = json_readings(own_broker, "old")
    records.assert_in_order(found, "the topic")
    records.assert_distinct([r.id for r in found], "the topic")
    assert outputs["json"]["delivered"] >= len(found) > 1000
    in_file = {r.id for r in records.readings(records.of_file(tmp_path / "records.jsonl"))}
    assert len(in_file) == ledger["readings"]["recorded"]
    assert {r.id for r in found} < in_file


def test_missing_topic_is_told_and_made_good(
    kafka: KafkaServer, penstockd: Start, config: Config
) -> None:
    config["outputs"].append(json_output(kafka, "nobody-made"))
    config["outputs"][1]["topics"] = {"readings": "nobody-made-readings"}
    daemon = penstockd(config)
    daemon.send([text([reading("s", n, temperature=1)]) for n in range(20)])
    daemon.received(20)

    def trouble() -> str:
        return daemon.ask("status")["outputs"][1]["trouble"]

    wait_until("the output says what is wrong", trouble)
    assert "nobody-made-readings" in trouble()
    kafka.create_topic("nobody-made-readings", 1)
    daemon.delivered(timeout_s=40)
    assert [r.seq for r in json_readings(kafka, "nobody-made")] == list(range(20))
    wait_until("nothing is wrong any more", lambda: trouble() == "")


def test_only_what_is_too_large_by_itself_is_a_dead_letter(
    kafka: KafkaServer, penstockd: Start, config: Config, tmp_path: Path
) -> None:
    """A broker refuses whole requests; good records that were in them must not suffer."""
    topics = {"readings": "tight-readings", "raw": "tight-raw"}
    for topic in topics.values():
        kafka.create_topic(topic, 1, max_message_bytes="4000")
    config["inputs"][0]["keep_raw"] = True
    config["outputs"] = [json_output(kafka, "tight") | {"topics": topics, "linger": "20ms"}]
    daemon = penstockd(config)
    for n in range(100):
        daemon.send([text([reading(f"s{i}", n, temperature=1) for i in range(10)])])
        if n % 40 == 20:
            daemon.send([text(reading("wide", n, temperature=1)).ljust(9216)])
    daemon.received(102)
    ledger = daemon.delivered(timeout_s=90)
    assert ledger["outputs"][0]["dead_letter"] == 2
    found = json_readings(kafka, "tight")
    here = records.sequences(found)
    assert here.pop("wide") == {20, 60}
    assert here == {f"s{i}": set(range(100)) for i in range(10)}
    payloads = {m.value for m in kafka.read_all("tight-raw") if m.value}
    assert len(payloads) == 100 and max(map(len, payloads)) < 4000
    dead = (tmp_path / "state" / "dead-json.jsonl").read_text().splitlines()
    assert [json.loads(line)["record"]["sensor"] for line in dead] == ["wide"] * 2


@pytest.mark.long
def test_hung_broker_is_outlived(own_broker: KafkaServer, penstockd: Start, config: Config) -> None:
    """Connections stay open and nobody answers, longer than a request may take."""
    make_topics(own_broker, "hung")
    daemon = penstockd(both_outputs(config, own_broker, "hung"))
    with sending(daemon.udp_address(), rate=200) as sender:
        wait_until("some delivered", lambda: sum(own_broker.end_offsets("hung-readings").values()))
        own_broker.pause()
        time.sleep(75)
        own_broker.resume()
        time.sleep(5)
        sent = sender.finish()
    daemon.received(sum(sent.values()))
    daemon.delivered(timeout_s=120)
    check_topics(own_broker, "hung", sent)
