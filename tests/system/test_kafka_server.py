"""The broker under the other tests: where these fail, what those say of Kafka is worth little."""

from pathlib import Path

import pytest
from kafka import KafkaServer


def test_topic_gives_back_any_bytes(kafka: KafkaServer) -> None:
    values = [b"", b"\x00\n\r\xff" * 5, bytes(range(256)) * 300]
    kafka.create_topic("any-bytes", 2)
    for value in values:
        kafka.write("any-bytes", 1, "line 4/µ", value)
    messages = kafka.read_all("any-bytes")
    assert [m.value for m in messages] == values
    assert {(m.partition, m.key) for m in messages} == {(1, "line 4/µ".encode())}
    assert [m.offset for m in messages] == [0, 1, 2]
    assert kafka.end_offsets("any-bytes") == {0: 0, 1: 3}


def test_unknown_topic_is_an_error(kafka: KafkaServer) -> None:
    with pytest.raises(RuntimeError, match="Unknown topic"):
        kafka.read_all("never-made")


def test_deleted_topic_is_gone(kafka: KafkaServer) -> None:
    kafka.create_topic("short-lived", 1)
    kafka.delete_topic("short-lived")
    with pytest.raises(RuntimeError, match="Unknown topic"):
        kafka.end_offsets("short-lived")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_restart_keeps_port_and_messages(tmp_path: Path, how: str) -> None:
    with KafkaServer(tmp_path / "kafka") as server:
        server.create_topic("kept", 1)
        server.write("kept", 0, "k", b"before")
        port = server.port
        getattr(server, how)()
        assert not server.answers()
        server.start()
        assert server.answers()
        server.write("kept", 0, "k", b"after")
        assert server.port == port
        assert [m.value for m in server.read_all("kept")] == [b"before", b"after"]
