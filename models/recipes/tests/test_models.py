"""Inputs and figures of the three models, on sensors that are made up."""

import re
from pathlib import Path

import numpy as np
import pytest
from made import sensor
from sensors import anomaly, golden, humidity, inputs, metrics, status, transplant
from sensors.data import HUMIDITY, TEMPERATURE
from sensors.faults import STRENGTHS

PROFILE = Path(__file__).resolve().parents[3] / "deploy" / "profiles" / "sensors.yaml"


def test_the_stream_is_that_of_the_profile() -> None:
    text = PROFILE.read_text()
    names = re.findall(r"- \{name: (\w+), unit", text)
    windows = re.findall(r"- \{size: (\w+), slide: (\w+)\}", text)
    seconds = {"30s": 30, "10s": 10, "5m": 300, "1m": 60}
    assert names == list(inputs.FIELDS)
    assert [(seconds[a], seconds[b]) for a, b in windows] == list(inputs.WINDOWS_S)
    for key, value in (("lateness", "5s"), ("max_skew", "1m"), ("idle", "2m")):
        assert f"{key}: {value}" in text
    assert (inputs.LATENESS_S, inputs.MAX_SKEW_S, inputs.IDLE_S) == (5, 60, 120)


def test_ranges_of_the_baseline_are_those_of_the_profile() -> None:
    for name, (low, high) in status.RANGES.items():
        assert re.search(rf"name: {name}, .*min: {low}, max: {high},", PROFILE.read_text())


def test_humidity_has_no_input_of_its_own_humidity() -> None:
    assert humidity.ALL_INPUTS
    assert not [e for e in humidity.ALL_INPUTS if "humidity" in e]
    with pytest.raises(ValueError, match="last"):
        inputs.without_own_humidity(["temperature", "last(humidity,5m)"])


def test_humidity_inputs_do_not_move_with_humidity() -> None:
    """The same by value: another humidity, the same rows."""
    s = sensor(rows=200)
    other = s.values.copy()
    other[:, HUMIDITY] = np.linspace(10, 90, len(s))
    a = inputs.rows(s, humidity.ALL_INPUTS)
    b = inputs.rows(s, humidity.ALL_INPUTS, other)
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("expressions", [status.ALL_INPUTS, anomaly.ALL_INPUTS])
def test_no_input_sees_the_future(expressions: list[str]) -> None:
    s = sensor(rows=200)
    other = s.values.copy()
    other[120:] += 5
    a = inputs.rows(s, expressions)
    b = inputs.rows(s, expressions, other)
    np.testing.assert_array_equal(a[:120], b[:120])


@pytest.mark.parametrize("module", [status, anomaly, humidity])
def test_inputs_are_canonical(module: object) -> None:
    from penstock_model.expression import canonical

    assert [canonical(e) for e in module.ALL_INPUTS] == module.ALL_INPUTS


def test_a_run_of_equal_values_is_counted() -> None:
    values = np.float32([1, 1, 2, 2, 2, 1, np.nan, np.nan])
    assert status.equal_in_a_row(values).tolist() == [1, 2, 1, 2, 3, 1, 1, 1]


def test_the_rule_knows_range_and_stuck() -> None:
    s = sensor(rows=100)
    s.values[50:60, TEMPERATURE] = 22
    s.values[80, HUMIDITY] = 101
    said = status.rule(status.clean(s), 5)
    assert said[55] and said[80] and not said[52] and not said[79]


def test_alarms_are_counted_once_a_run() -> None:
    assert metrics.alarms(np.array([0, 1, 2, 0, 0, 2])) == 2


def test_views_are_the_same_each_time() -> None:
    s = sensor(rows=600)
    a, b = (status.broken(s, 1, STRENGTHS) for _ in range(2))
    np.testing.assert_array_equal(a.x, b.x)
    np.testing.assert_array_equal(a.injected.truth, b.injected.truth)
    assert not np.array_equal(a.injected.values, status.broken(s, 2, STRENGTHS).injected.values)


def test_a_copy_adds_what_the_event_added() -> None:
    source = sensor(rows=300)
    source.label[100:150] = 1
    source.values[100:150, TEMPERATURE] += 10
    [shape] = transplant.shapes(source)
    host = sensor(rows=300, seed=2)
    made = transplant.onto(host, shape, 200, size=0.5, stretch=1.0)
    assert made is not None
    assert np.flatnonzero(made.label).tolist() == list(range(200, 250))
    added = made.values[200:250, TEMPERATURE] - host.values[200:250, TEMPERATURE]
    assert np.mean(added) == pytest.approx(5, abs=0.1)
    np.testing.assert_array_equal(made.values[:200], host.values[:200])
    assert transplant.onto(source, shape, 120, size=1, stretch=1) is None  # on an event
    assert transplant.onto(host, shape, 290, size=1, stretch=1) is None  # beyond the end


def test_events_and_alarms_are_counted_whole() -> None:
    s = sensor(rows=100)
    s.label[20:30] = s.label[60:70] = 1
    said = np.zeros(100, np.uint8)
    said[[22, 23, 25, 90]] = 1
    found = anomaly.event_figures([anomaly.View(s, np.empty((100, 0)), False)], [said])
    assert (found["events"], found["events_found"]) == (2, 1)
    assert (found["alarms"], found["alarms_outside_events"]) == (3, 1)
    assert found["readings_until_found"] == [2]


def test_golden_rows_hold_no_row_of_an_unlicensed_set() -> None:
    rng = np.random.default_rng(1)
    x = np.random.default_rng(2).normal(size=(500, 4)).astype(np.float32)
    licensed = np.zeros(500, bool)
    licensed[100:200] = True
    rows = golden.rows(x, licensed, rng)
    forbidden = {r.tobytes() for r in x[~licensed]}
    assert len(rows) >= golden.MADE_ROWS
    assert not [r for r in rows if r.tobytes() in forbidden]
