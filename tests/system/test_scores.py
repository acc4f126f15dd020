"""Models in the path: what a worker computes is what training computes, to the bit; what a record
says can be made again from it; what does not fit is refused at the start."""

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemon import Config, Daemon
from penstock_model.bundle import read, write
from penstock_model.convert import convert
from penstock_model.features import Features, Stream, Window
from penstock_model.score import score
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

FIELDS = ["temperature", "humidity", "light"]
WINDOWS = {"30s": "10s", "5m": "1m"}
EXPRESSIONS = [
    "temperature",
    *(f"{s}(temperature,30s)" for s in ("mean", "std", "min", "max", "last", "count")),
    "zscore(temperature,5m)",
    "slope(humidity,5m)",
    "mean(light,5m)",
    "delta(humidity)",
    "ratio(temperature,humidity)",
    "hour()",
    "weekday()",
]
DERIVED = [e for e in EXPRESSIONS if "(" in e and not e.startswith(("ratio", "hour", "weekday"))]
SECOND = 10**9
Run = Callable[..., Daemon]
Rows = list[tuple[str, int, list[float | None]]]


def rows_of(seed: int, count: int) -> Rows:
    """Sensors that come in turn, late and out of order, with gaps, steps back, missing values."""
    rng = np.random.default_rng(seed)
    clock = {f"s{i}": (time.time_ns() // SECOND - 40_000) * SECOND for i in range(4)}
    rows: Rows = []
    for _ in range(count):
        sensor = f"s{rng.integers(4)}"
        step = rng.choice([0.25, 3, 9, 70, 400], p=[0.3, 0.4, 0.2, 0.08, 0.02])
        clock[sensor] += int(step * SECOND)
        event = clock[sensor] - int(rng.choice([0, 2, 30], p=[0.8, 0.15, 0.05])) * SECOND
        values = [float(np.float32(v)) for v in rng.normal([20, 45, 300], [2, 9, 80])]
        rows.append((sensor, event, [None if rng.random() < 0.1 else v for v in values]))
    return rows


def send(port: int, rows: Rows) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for i, (sensor, event, values) in enumerate(rows):
            reading = {"sensor": sensor, "time": event, **dict(zip(FIELDS, values, strict=True))}
            s.sendto(json.dumps(reading).encode(), ("127.0.0.1", port))
            if i % 50 == 49:
                time.sleep(0.01)


def readings(daemon: Daemon) -> dict[str, list[dict[str, Any]]]:
    """Of the file output, by sensor, in the order in which they came."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in (daemon.folder / "records.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["kind"] == "reading":
            found.setdefault(record["sensor"], []).append(record)
    return found


def key_of(expression: str) -> str:
    return expression.translate(str.maketrans("(,", "__", ")"))


def same_bits(got: float | None, want: np.float32) -> bool:
    return np.isnan(want) if got is None else np.float32(got) == want


@pytest.fixture
def linear() -> bytes:
    """A sum over every kind of input; what is missing counts as its mean."""
    rng = np.random.default_rng(5)
    x = rng.normal(10, 5, (300, len(EXPRESSIONS))).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    model = make_pipeline(SimpleImputer(), LinearRegression())
    model.fit(x, np.nansum(x * rng.normal(0, 1, x.shape[1]), axis=1))
    return bundle(model, "everything", x)


def bundle(model: object, name: str, x: np.ndarray, **more: Any) -> bytes:  # noqa: ANN401
    made = convert(
        model,
        EXPRESSIONS,
        name=name,
        metrics={"data": "random numbers"},
        provenance={"recipe": "a test", "data_sha256": "none"},
        golden_rows=x[:20],
        windows=WINDOWS,
        **{"version": 4, **more},
    )
    return write(made)


@pytest.fixture
def scored(config: Config, linear: bytes, tmp_path: Path) -> Config:
    (tmp_path / "everything.psm").write_bytes(linear)
    config["streams"] = [
        {
            "name": "climate",
            "fields": [{"name": f} for f in FIELDS],
            "idle": "1h",
            "lateness": "5s",
            "windows": [{"size": k, "slide": v, "stats": ["count"]} for k, v in WINDOWS.items()],
            "models": [{"name": "all", "file": str(tmp_path / "everything.psm")}],
        }
    ]
    config["workers"] = 2
    config["inputs"] = [{"name": "json", "type": "udp", "format": "json", "listen": "127.0.0.1:0"}]
    config["outputs"] = [{"name": "records", "type": "file", "path": "records.jsonl"}]
    return config


def nanoseconds(text: str) -> int:
    """Of a record's time, which may have 9 digits of fraction."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return int(np.datetime64(whole, "s").astype(np.int64)) * SECOND + int(fraction.ljust(9, "0"))


def expected(rows: Rows, sensor: str, records: list[dict[str, Any]], **times: float) -> np.ndarray:
    """What training computes of what that sensor sent, and of when the daemon says it came."""
    own = [(event, values) for name, event, values in rows if name == sensor]
    windows = [Window(30, 10), Window(300, 60)]
    stream = Stream(FIELDS, windows, **{"lateness_s": 5, "idle_s": 3600, **times})
    arrivals = np.array([nanoseconds(r["arrival"]) for r in records], dtype=np.int64)
    values = np.array([[np.nan if v is None else v for v in row] for _, row in own], np.float32)
    events = np.array([event for event, _ in own], dtype=np.int64)
    return Features(stream, EXPRESSIONS).rows(events, arrivals, values)


def check(daemon: Daemon, rows: Rows, model: bytes, **times: float) -> None:
    found = readings(daemon)
    assert sum(map(len, found.values())) == len(rows)
    for sensor, records in found.items():
        want = expected(rows, sensor, records, **times)
        scores = score(read(model), want).out[:, 0]
        for i, record in enumerate(records):
            got = record.get("inputs", {})
            for name in DERIVED:
                value = want[i, EXPRESSIONS.index(name)]
                assert same_bits(got.get(key_of(name)), value), (sensor, i, name, got, value)
            told = record["scores"]["all"]
            assert told["version"] == 4
            assert np.float32(told["value"]) == np.float32(scores[i]), (sensor, i)


def test_a_worker_computes_what_training_computes(
    penstockd: Run, scored: Config, linear: bytes
) -> None:
    """A different bit anywhere, and a model in the field is not the one that was evaluated."""
    daemon = penstockd(scored)
    rows = rows_of(1, 1500)
    send(daemon.ask("status")["inputs"][0]["port"], rows)
    daemon.received(len(rows))
    check(daemon, rows, linear)
    (told,) = daemon.ask("status")["models"]
    assert (told["name"], told["version"], told["rows"]) == ("all", 4, len(rows))
    assert told["missing"] == 0 and told["cycles_each"] > 0


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_does_not_show_in_scores(
    penstockd: Run, scored: Config, linear: bytes, how: str
) -> None:
    """Panes and the values before come back from the journal: the next score is as without."""
    daemon = penstockd(scored)
    rows = rows_of(2, 600)
    send(daemon.ask("status")["inputs"][0]["port"], rows[:300])
    daemon.received(300)
    daemon.stop() if how == "stop" else daemon.kill()
    daemon.start()
    send(daemon.ask("status")["inputs"][0]["port"], rows[300:])
    daemon.received(600)
    check(daemon, rows, linear)


def unruly(rng: np.random.Generator, sensors: list[str], count: int) -> Rows:
    """Of now, late, ahead, of long ago, beyond all windows; each sensor loses its clock once."""
    rows: Rows = []
    lost = {s: int(rng.integers(count // 8, count // 4)) for s in sensors}
    seen = dict.fromkeys(sensors, 0)
    start = time.time_ns() - 200 * SECOND
    for i in range(count):
        sensor = str(rng.choice(sensors))
        event = start + int(i / count * 190 * SECOND)
        event -= int(rng.choice([0, 8, 45, 100], p=[0.8, 0.1, 0.05, 0.05])) * SECOND
        seen[sensor] += 1
        if lost[sensor] <= seen[sensor] < lost[sensor] + 9:
            event = start - 10**6 * SECOND + i * SECOND
        elif rng.random() < 0.06:
            event = int(rng.choice([time.time_ns() + 300 * SECOND, 7 * 10**18]))
        values = [float(np.float32(v)) for v in rng.normal([20, 45, 300], [2, 9, 80])]
        rows.append((sensor, event, [None if rng.random() < 0.1 else v for v in values]))
    return rows


@pytest.mark.parametrize("between", ["", "stop", "kill"])
def test_clocks_and_silences_are_those_of_training(
    penstockd: Run, scored: Config, linear: bytes, between: str
) -> None:
    """
    What is of the future, a clock that was set back, windows that close because a sensor is silent,
    one that is forgotten: each takes something out of the panes, here as there.
    """
    rng = np.random.default_rng(6)
    stream = scored["streams"][0]
    stream |= {"idle": "700ms", "forget": "2s", "lateness": "2s"}
    daemon = penstockd(scored)
    rows: Rows = []
    # in what is sent after each pause some sensors are new, some were idle, some are forgotten
    rounds = [("abcd", 0.0), ("ab", 1.2), ("abc", 1.2), ("abd", 1.2)]
    for sensors, pause in rounds:
        time.sleep(pause)
        if pause and between:
            daemon.stop() if between == "stop" else daemon.kill()
            daemon.start()
        sent = unruly(rng, list(sensors), 150)
        send(daemon.ask("status")["inputs"][0]["port"], sent)
        rows += sent
        daemon.received(len(rows))
    check(daemon, rows, linear, idle_s=0.7, forget_s=2, lateness_s=2)
    records = [json.loads(x) for x in (daemon.folder / "records.jsonl").read_text().splitlines()]
    flags = [flag for r in records if r["kind"] == "reading" for flag in r.get("flags", [])]
    assert {"late", "future", "clock_reset"} <= set(flags) and flags.count("new_life") > 4
    closed = {r["window"]["reason"] for r in records if r["kind"] == "window"}
    assert closed >= {"watermark", "idle", "clock_reset"}, "or this shows nothing"


def test_alerts_on_scores(penstockd: Run, scored: Config, tmp_path: Path) -> None:
    """On a regression's value, and on what a model says of classes."""
    rng = np.random.default_rng(9)
    x = rng.normal(20, 8, (600, len(EXPRESSIONS))).astype(np.float32)
    # splits by temperature alone, so that the hour of the test does not matter
    forest = make_pipeline(SimpleImputer(), DecisionTreeClassifier(max_depth=2, random_state=0))
    forest.fit(x, np.digitize(x[:, 0], [15, 25]))
    made = bundle(forest, "forest", x, classes=["cold", "mild", "hot"])
    (tmp_path / "forest.psm").write_bytes(made)
    stream = scored["streams"][0]
    stream["models"].append({"name": "feel", "file": str(tmp_path / "forest.psm")})
    stream["alerts"] = [
        {"name": "heat", "type": "above", "score": "feel", "class": "hot", "threshold": 0.5}
    ]
    daemon = penstockd(scored)
    port = daemon.ask("status")["inputs"][0]["port"]
    now = time.time_ns() // SECOND * SECOND
    temperatures = [10.0, 40.0, 41.0, 10.0]
    send(port, [("s", now + i * SECOND, [t, 20, 20]) for i, t in enumerate(temperatures)])
    daemon.received(4)
    records = [json.loads(x) for x in (daemon.folder / "records.jsonl").read_text().splitlines()]
    labels = [r["scores"]["feel"]["label"] for r in records if r["kind"] == "reading"]
    assert labels == ["cold", "hot", "hot", "cold"]
    alerts = [r["alert"] for r in records if r["kind"] == "alert"]
    assert [a["state"] for a in alerts] == ["raise", "clear"]
    raised = next(r for r in records if r["kind"] == "reading" and r["scores"]["feel"]["class"])
    assert alerts[0]["cause"] == raised["id"]
    assert alerts[0]["value"] == pytest.approx(raised["scores"]["feel"]["probability"], rel=1e-6)
    tail = daemon.penstock("tail", "--from", "oldest", "--no-follow").stdout
    assert tail.count(" feel=hot(") == 2 and tail.count(" all=") == 4, tail
    assert tail.count("raise heat value=") == 1 and " limit=0.5" in tail, tail
    assert "model feel of " in daemon.log and "forest.psm, version " in daemon.log
    stream["alerts"][0]["class"] = "Hot"
    daemon.write_config()
    done = daemon.penstock("check", str(daemon.config_path))
    assert 'model feel has no class "Hot"; it has cold, mild, hot' in done.stderr


def test_any_class_may_be_named_by_a_rule(penstockd: Run, scored: Config, tmp_path: Path) -> None:
    """Labels come from whoever made the model; YAML and JSON have characters of their own."""
    labels = ['5" pipe', "C:\\line", "${HOME}", "warm, # or: not", " ", "null", "1.50", "né 雪 🌡"]
    x = np.zeros((400, len(EXPRESSIONS)), np.float32)
    x[:, 0] = np.arange(400) % 80
    tree = make_pipeline(SimpleImputer(), DecisionTreeClassifier(random_state=0))
    tree.fit(x, x[:, 0] // 10)
    (tmp_path / "labels.psm").write_bytes(bundle(tree, "labels", x, classes=labels))
    rule = {"type": "above", "score": "labels", "threshold": 0.5}
    stream = scored["streams"][0]
    stream["models"] = [{"name": "labels", "file": str(tmp_path / "labels.psm")}]
    stream["alerts"] = [
        {"name": f"r{i}", "class": label.replace("${", "$${"), **rule}
        for i, label in enumerate(labels)
    ]
    daemon = penstockd(scored)
    now = time.time_ns()
    send(
        daemon.ask("status")["inputs"][0]["port"],
        [(f"s{i}", now, [10.0 * i + 5, 1, 1]) for i in range(8)],
    )
    daemon.received(8)
    records = [json.loads(x) for x in (daemon.folder / "records.jsonl").read_text().splitlines()]
    told = {r["sensor"]: r["scores"]["labels"]["label"] for r in records if r["kind"] == "reading"}
    assert told == {f"s{i}": label for i, label in enumerate(labels)}
    alerts = {r["sensor"]: r["alert"]["rule"] for r in records if r["kind"] == "alert"}
    assert alerts == {f"s{i}": f"r{i}" for i in range(8)}
    shown = tmp_path / "shown.json"
    shown.write_text(json.dumps(daemon.ask("check", str(daemon.config_path))["config"]))
    assert daemon.penstock("check", str(shown)).returncode == 0


def test_what_does_not_fit_is_refused_at_the_start(
    penstockd: Run, scored: Config, linear: bytes, tmp_path: Path
) -> None:
    """The daemon must not start with half its models."""
    path = tmp_path / "everything.psm"
    stream = scored["streams"][0]
    daemon = penstockd(scored, start=False, settle=False)

    def refused(*said: str) -> None:
        daemon.write_config()
        done = daemon.penstock("check", str(daemon.config_path))
        assert done.returncode == 2, done.stdout
        for text in said:
            assert text in done.stderr, done.stderr
        daemon.spawn()
        assert daemon.wait() == 2
        assert said[0] in daemon.log

    path.unlink()
    os.mkfifo(path)
    refused("everything.psm")
    path.unlink()
    path.write_bytes(linear[:-1])
    refused("everything.psm")
    spoilt = bytearray(linear)
    spoilt[-65] ^= 1
    path.write_bytes(bytes(spoilt))
    refused("everything.psm", "provenance")
    path.write_bytes(linear)
    slide = stream["windows"][1].pop("slide")
    refused("zscore(temperature,5m)", "no window of 300 s that slides by 60 s")
    stream["windows"][1]["slide"] = slide
    field = stream["fields"].pop()
    stream["windows"][0]["slide"] = "15s"
    refused("mean(light,5m)", 'no field "light"', "min(temperature,30s)", "last(temperature,30s)")
    stream["windows"][0]["slide"] = "10s"
    stream["fields"].append(field)
    stream["alerts"] = [
        {"name": "a", "type": "above", "score": "all", "class": "hot", "threshold": 0.5}
    ]
    refused("model all says a value, not classes")
    stream["alerts"][0]["score"] = "al"
    refused('there is no model "al", did you mean all?')
    del stream["alerts"]
    daemon.write_config()
    daemon.start()
    daemon.stop()


def test_versions_count_beyond_31_bits(penstockd: Run, scored: Config, tmp_path: Path) -> None:
    """A version may be a date, 4026112101; negative it would name another model."""
    newest, x = 2**32 - 1, np.ones((30, len(EXPRESSIONS)), np.float32)
    model = LinearRegression().fit(x, x[:, 0])
    (tmp_path / "everything.psm").write_bytes(bundle(model, "everything", x, version=newest))
    daemon = penstockd(scored)
    send(daemon.ask("status")["inputs"][0]["port"], [("s", time.time_ns(), [1.0, 2.0, 3.0])])
    daemon.received(1)
    (records,) = readings(daemon).values()
    assert records[0]["scores"]["all"]["version"] == newest
    assert daemon.ask("status")["models"][0]["version"] == newest
    shown = daemon.penstock("status").stdout
    assert f" {newest} " in shown, shown


def test_who_looks_for_the_socket_opens_no_bundle(
    penstockd: Run, scored: Config, tmp_path: Path
) -> None:
    """A bundle that is being replaced must not keep anyone from looking at the daemon."""
    daemon = penstockd(scored)
    (tmp_path / "everything.psm").unlink()
    os.mkfifo(tmp_path / "everything.psm")  # who opens it waits, or refuses it
    for verb in ("status", "ledger", "top"):
        done = daemon.penstock(verb, "--config", str(daemon.config_path))
        assert done.returncode == 0, done.stderr
    assert daemon.penstock("check", str(daemon.config_path)).returncode == 2


def test_models_of_windows(penstockd: Run, scored: Config, linear: bytes, tmp_path: Path) -> None:
    """What closes is scored by its own statistics; the config that the API shows is one."""
    x = np.random.default_rng(3).normal(20, 5, (200, 2)).astype(np.float32)
    made = convert(
        LinearRegression().fit(x, x.sum(axis=1)),
        ["mean(temperature,30s)", "count(humidity,30s)"],
        name="sums",
        version=2,
        metrics={"data": "random numbers"},
        provenance={"recipe": "a test", "data_sha256": "none"},
        golden_rows=x[:5],
        windows=WINDOWS,
        rows="windows",
    )
    (tmp_path / "sums.psm").write_bytes(write(made))
    stream = scored["streams"][0]
    stream["windows"][0]["stats"] = ["count", "mean"]
    stream["windows"][0]["name"] = name = "short"
    stream["models"] = [{"name": "sums", "file": str(tmp_path / "sums.psm"), "window": name}]
    stream["alerts"] = [{"name": "much", "type": "above", "score": "sums", "threshold": 30}]
    daemon = penstockd(scored)
    port = daemon.ask("status")["inputs"][0]["port"]
    now = (time.time_ns() // (30 * SECOND) - 100) * 30 * SECOND
    send(port, [("s", now + i * SECOND, [25.0, 20, 20]) for i in (0, 1, 2, 100)])
    daemon.received(4)
    records = [json.loads(x) for x in (daemon.folder / "records.jsonl").read_text().splitlines()]
    assert all("scores" not in r and "inputs" not in r for r in records if r["kind"] == "reading")
    short = [r for r in records if r["kind"] == "window" and r["window"]["name"] == name]
    assert len(short) == 3
    for r in short:
        stats = r["window"]["stats"]
        want = stats["temperature"]["mean"] + stats["humidity"]["count"]
        assert r["scores"]["sums"]["value"] == pytest.approx(want, rel=1e-4)
    assert [r["alert"]["state"] for r in records if r["kind"] == "alert"] == []
    shown = tmp_path / "shown.json"
    shown.write_text(json.dumps(daemon.ask("check", str(daemon.config_path))["config"]))
    done = daemon.penstock("check", str(shown))
    assert done.returncode == 0, done.stderr
