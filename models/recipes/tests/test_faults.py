"""A fault is what firmware-sim/fault.c says it is, and the truth beside it is true."""

import numpy as np
import pytest
from made import sensor
from sensors import faults
from sensors.data import HUMIDITY, TEMPERATURE, VOLTAGE
from sensors.faults import DEGRADED, FAULTY, OK, Episode


def one(
    kind: str, strength: float, field: int = TEMPERATURE, rows: int = 60
) -> tuple[faults.Injected, np.ndarray, float]:
    """What came of one episode from row 100 on, the change in sigma, and sigma."""
    s = sensor()
    episode = Episode(kind, field, strength, 100, 100 + rows)
    found = faults.inject(s, [episode], np.random.default_rng(7))
    sigma = faults.noise_sigma(s)[field]
    change = (found.values[:, field].astype(float) - s.values[:, field]) / sigma
    return found, change, sigma


@pytest.mark.parametrize("kind", faults.KINDS)
def test_nothing_changes_outside_the_episode(kind: str) -> None:
    field = VOLTAGE if kind == "battery" else TEMPERATURE
    found, _, _ = one(kind, 6, field)
    s = sensor()
    outside = np.r_[0:100, 160:600]
    np.testing.assert_array_equal(found.values[outside], s.values[outside])
    others = [f for f in range(4) if f != field]
    np.testing.assert_array_equal(found.values[:, others], s.values[:, others])
    assert (found.truth[outside] == OK).all()


def test_stuck_repeats_the_first_value() -> None:
    found, _, _ = one("stuck", 0)
    assert len(set(found.values[100:160, TEMPERATURE])) == 1
    assert found.truth[100] == OK  # that one was measured
    assert (found.truth[101:160] == FAULTY).all()


def test_drift_walks_to_its_strength() -> None:
    found, change, sigma = one("drift", 6)
    step = 0.01 / sigma  # of the sensor's resolution
    np.testing.assert_allclose(change[100:160], 6 * np.arange(60) / 60, atol=step)
    assert list(found.truth[[100, 106, 129, 130, 159]]) == [OK, DEGRADED, DEGRADED, FAULTY, FAULTY]


def test_battery_sags_only_in_voltage() -> None:
    found, change, sigma = one("battery", 4, VOLTAGE)
    np.testing.assert_allclose(change[100:160], -4 * np.arange(60) / 60, atol=0.01 / sigma)
    assert found.truth[159] == FAULTY


@pytest.mark.parametrize(("strength", "truth"), [(0.5, DEGRADED), (2, DEGRADED), (3, FAULTY)])
def test_spike_is_one_reading_of_its_strength(strength: float, truth: int) -> None:
    found, change, sigma = one("spike", strength, HUMIDITY, rows=1)
    assert abs(change[100]) == pytest.approx(strength, abs=0.01 / sigma)
    assert found.truth[100] == truth
    assert (change[101:] == 0).all()


def test_noise_has_its_strength() -> None:
    _, change, _ = one("noise", 4, rows=400)
    assert np.std(change[100:500]) == pytest.approx(4, rel=0.1)


def test_values_stay_on_the_sensors_grid() -> None:
    """Else any fault, however small, would be given away by its last digits."""
    for kind in ("drift", "spike", "noise"):
        found, _, _ = one(kind, 0.5)
        steps = found.values[:, TEMPERATURE].astype(float) / 0.01
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)


def test_sigma_is_that_of_the_sensor_and_at_least_a_step() -> None:
    s = sensor(rows=5000)
    assert faults.noise_sigma(s)[TEMPERATURE] == pytest.approx(0.1, rel=0.1)
    s.values[:, TEMPERATURE] = 22
    assert faults.noise_sigma(s)[TEMPERATURE] == 0.01
    assert np.isnan(faults.noise_sigma(s)[3])


def test_missing_values_stay_missing() -> None:
    s = sensor()
    s.values[110, TEMPERATURE] = np.nan
    episode = Episode("noise", TEMPERATURE, 6, 100, 160)
    found = faults.inject(s, [episode], np.random.default_rng(7))
    assert np.isnan(found.values[110, TEMPERATURE])
    assert found.truth[110] == OK


def test_a_plan_has_all_kinds_and_strengths_apart_from_each_other() -> None:
    s = sensor(rows=30000)
    plan = faults.plan(s, np.random.default_rng(3), (1.0, 5.0))
    assert {e.kind for e in plan} == set(faults.KINDS)
    assert {e.strength for e in plan if e.kind == "drift"} == set(faults.STRENGTHS)
    short, long = faults.episode_lengths(s)
    assert all(b.first - a.end >= short for a, b in zip(plan, plan[1:], strict=False))
    assert all(short <= e.end - e.first <= long for e in plan if e.kind != "spike")
    assert plan[-1].end <= len(s)


def test_a_sensor_without_voltage_has_no_battery_fault() -> None:
    s = sensor(rows=20000)
    s.values[:, VOLTAGE] = np.nan
    plan = faults.plan(s, np.random.default_rng(3), (1.0, 5.0))
    assert "battery" not in {e.kind for e in plan}
