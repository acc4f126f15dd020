"""
Inputs for training. What breaks if they fail: a model that was trained on other values than those
that the appliance computes, and nothing that would say so.
"""

import math

import numpy as np
import pytest
from penstock_model.expression import ExpressionError, parse
from penstock_model.features import Features, Stream, Window
from slow_features import SlowSensor

S = 10**9
START = 1_700_000_000 * S
FIELDS = ("x", "y")
EXPRESSIONS = [
    "x",
    "y",
    *(f"{call}(x,{size})" for size in ("5m", "30s", "1h") for call in ("mean", "std", "slope")),
    *(f"{call}({f},5m)" for f in FIELDS for call in ("min", "max", "last", "count", "zscore")),
    "zscore(y,30s)",
    "slope(y,1h)",
    "delta(x)",
    "delta(y)",
    "ratio(x,y)",
    "ratio(y,x)",
    "hour()",
    "weekday()",
]
EXPRESSIONS = [e for e in EXPRESSIONS if e != "slope(x,30s)"]  # one pane has no slope
WINDOWS = (Window(300, 60), Window(30), Window(3600, 300))
STREAM = Stream(FIELDS, WINDOWS, lateness_s=20, max_skew_s=60, idle_s=90, forget_s=7200)


def history(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Readings with all that goes wrong: late, ahead, silent, set back, without values, extreme."""
    rng = np.random.default_rng(seed)
    step = rng.choice([0, 1, 3, 10, 40], n, p=[0.05, 0.4, 0.3, 0.2, 0.05])
    step[rng.integers(1, n, 3)] = [200, 100, 9000]
    arrival = START + np.cumsum(step * S + rng.integers(0, S, n) * (step > 1))
    off = rng.choice([0, -5, -25, -100, 50, 100], n, p=[0.7, 0.1, 0.08, 0.05, 0.05, 0.02])
    event = arrival + off * S
    for back in rng.choice([120, 4000, 10**9], 2):  # a device that lost its clock for a while
        at = int(rng.integers(0, n - 20))
        event[at : at + 20] = arrival[at : at + 20] - int(back) * S
    event[rng.random(n) < 0.003] = rng.choice([2**63 - 1, -(2**63), -10 * S])
    values = rng.normal(20, 3, (n, 2)) * rng.choice([1, 1e-3, 1e4], (n, 1), p=[0.9, 0.05, 0.05])
    extremes = [0.0, -0.0, 3.4e38, -3.4e38, 1e-45, -1e-40, math.inf, -math.inf]
    at = rng.random((n, 2)) < 0.02
    values[at] = rng.choice(extremes, int(at.sum()))
    at = int(rng.integers(0, n - 100))
    values[at : at + 100] = 0.1  # a sensor that is stuck
    values[rng.random((n, 2)) < 0.1] = math.nan
    return event, arrival, values.astype(np.float32)


def slowly(
    event: np.ndarray, arrival: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, dict[str, int]]:
    """float64, before anything is rounded."""
    slow = SlowSensor(STREAM.times, {w.size_ns: w.slide_ns for w in STREAM.windows})
    parsed = [parse(e) for e in EXPRESSIONS]
    rows = []
    for e, a, v in zip(event.tolist(), arrival.tolist(), values.tolist(), strict=True):
        slow.push(e, a, v)
        row = [slow.input(p.call, tuple(map(FIELDS.index, p.fields)), p.size_ns) for p in parsed]
        rows.append(row)
    return np.array(rows, dtype=np.float64), slow.marks


def unrounded(
    f: Features, event: np.ndarray, arrival: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """What rows() rounds: there, an order of sums that is another one would hardly ever show."""
    sensor, steps, rows = f._sensor(), [f._step(e) for e in f._parsed], []
    for reading in f._readings(event, arrival, values):
        sensor.push(*reading)
        rows.append([step(sensor) for step in steps])
    return np.array(rows, dtype=np.float64)


def same_bits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What is not finite is missing; a least or greatest value that is 0 has either sign."""
    equal = a.view(np.uint64) == b.view(np.uint64)
    return equal | ~(np.isfinite(a) | np.isfinite(b)) | (a == 0) & (b == 0)


@pytest.mark.parametrize("seed", range(4))
def test_every_bit_is_that_of_the_plain_reference(seed: int) -> None:
    event, arrival, values = history(seed, 500)
    wanted, marks = slowly(event, arrival, values)
    f = Features(STREAM, EXPRESSIONS)
    exact, got = unrounded(f, event, arrival, values), f.rows(event, arrival, values)
    same = same_bits(exact, wanted)
    for i, name in enumerate(EXPRESSIONS):
        bad = np.flatnonzero(~same[:, i])
        assert not bad.size, f"{name}, row {bad[0]}: {exact[bad[0], i]} not {wanted[bad[0], i]}"
    with np.errstate(over="ignore"):
        rounded = wanted.astype(np.float32)
    np.testing.assert_array_equal(got, np.where(np.isfinite(rounded), rounded, np.nan))
    assert got.dtype == np.float32 and got.shape == (500, len(EXPRESSIONS))
    happened = {k for k, n in marks.items() if n}
    assert happened == {"future", "late", "idle", "reset", "forgotten"}, "or this shows nothing"
    there = (~np.isnan(got)).mean(axis=0)
    assert there.min() > 0.1, f"{EXPRESSIONS[int(there.argmin())]} is hardly ever there"


def test_statistics_are_those_of_numpy() -> None:
    """Two implementations that agree may both be wrong; this one is a third, of nothing special."""
    n, rng = 600, np.random.default_rng(3)
    event = START // (300 * S) * 300 * S + np.arange(n) * S
    values = rng.normal(50, 5, (n, 2)).astype(np.float32)
    names = ["mean(x,5m)", "std(x,5m)", "min(x,5m)", "max(x,5m)", "last(x,5m)", "count(x,5m)"]
    got = Features(STREAM, [*names, "slope(x,5m)", "zscore(x,5m)"]).rows(event, event, values)
    for row in (0, 1, 59, 60, 299, 300, 455, 599):
        first = max(0, row // 60 * 60 - 240)  # four panes before the one of the row
        x = values[first : row + 1, 0].astype(np.float64)
        std = x.std(ddof=1) if len(x) > 1 else math.nan
        wanted = [x.mean(), std, x.min(), x.max(), x[-1], len(x)]
        np.testing.assert_allclose(got[row, :6], wanted, rtol=1e-6)
        np.testing.assert_allclose(got[row, 7], (x[-1] - x.mean()) / std, rtol=1e-5)
    panes = [values[p : p + 60, 0].astype(np.float64) for p in range(300, 600, 60)]
    means = [p.mean() for p in panes]
    np.testing.assert_allclose(got[599, 6], np.polyfit(np.arange(5) * 60.0, means, 1)[0], rtol=1e-4)


def of_x(*readings: tuple[float, float], expressions: list[str], **stream: float) -> np.ndarray:
    """readings: (second, x); event time is arrival time."""
    times = np.array([int(t * S) for t, _ in readings])
    values = np.array([[v] for _, v in readings], dtype=np.float32)
    s = Stream(("x",), (Window(300, 60),), **{"lateness_s": 0, **stream})
    return Features(s, expressions).rows(times, times, values)


def test_idle_close_begins_a_new_window() -> None:
    """As the appliance closes it: what it has closed does not count in what comes after."""
    rows = [(600, 10), (605, 20), (700, 30), (705, 50)]
    got = of_x(*rows, expressions=["mean(x,5m)", "count(x,5m)"], idle_s=60)
    np.testing.assert_array_equal(got[:, 1], [1, 2, 1, 2])
    np.testing.assert_array_equal(got[:, 0], [10, 15, 30, 40])
    got = of_x(*rows, expressions=["count(x,5m)"], idle_s=95)
    np.testing.assert_array_equal(got[:, 0], [1, 2, 3, 4], "exactly idle is not longer")


def test_reading_in_a_pane_that_was_closed_is_in_no_window() -> None:
    got = of_x((601, 1), (602, 2), (615, 3), (661, 4), expressions=["count(x,5m)"], idle_s=10)
    np.testing.assert_array_equal(got[:, 0], [1, 2, 0, 1], "615 in the pane of 602, 661 behind it")


def test_forgotten_sensor_begins_anew() -> None:
    """As its slot on the appliance does."""
    rows = [(600, 10), (650, 20), (711, 40), (712, 50)]
    got = of_x(*rows, expressions=["delta(x)", "count(x,5m)"], idle_s=60, forget_s=60)
    np.testing.assert_array_equal(got, [[np.nan, 1], [10, 2], [np.nan, 1], [10, 2]])


def of_times(*readings: tuple[int, int, float], **stream: float) -> list[float]:
    """readings: event and arrival in seconds, x; count(x,5m) of each."""
    event, arrival = (np.array([r[i] for r in readings], dtype=np.int64) for i in (0, 1))
    s = Stream(("x",), (Window(300, 60),), **{"lateness_s": 0, "idle_s": 10**6, **stream})
    values = np.array([[r[2]] for r in readings], dtype=np.float32)
    return Features(s, ["count(x,5m)"]).rows(event * S, arrival * S, values)[:, 0].tolist()


def test_bounds_of_the_clock() -> None:
    """max_skew itself is not too much, neither ahead nor behind."""
    assert of_times((160, 100, 1), (161, 100, 1)) == [1, 1], "161 is future"
    behind = [(1000, 1000, 1), *((940, 1001, 1),) * 5]
    assert of_times(*behind, max_skew_s=60) == [1, 2, 3, 4, 5, 6]
    assert of_times(*behind, max_skew_s=59) == [1, 2, 3, 4, 1, 2], "the fourth begins anew"


def test_clock_is_set_back_by_four_in_order() -> None:
    def counts(*events: int) -> list[float]:
        return of_times((2000, 2000, 1), *((e, 2001, 1) for e in events))[1:]

    assert counts(10, 11, 11, 12, 13) == [1, 1, 1, 1, 2]
    assert counts(10, 11, 12, 5, 6, 7, 7) == [1, 1, 1, 1, 1, 1, 1], "5 is the first in a row"
    assert counts(10, 11, 12, 5, 6, 7, 8, 9) == [1, 1, 1, 1, 1, 1, 1, 2]
    assert counts(10, 11, 12, 1999, 13, 14, 15, 16) == [1, 1, 1, 2, 2, 2, 2, 1]
    assert counts(10, 11, 12, 9999, 13, 14, 15, 16) == [1, 1, 1, 1, 1, 1, 1, 1], "a future one too"


def test_times_beyond_all_windows_are_in_none() -> None:
    limit = 8_500_000_000
    assert of_times((limit, limit, 1), (limit + 1, limit + 1, 1)) == [1, 1]
    assert of_times((-limit, -limit, 1), (-limit - 1, -limit, 1)) == [1, 1]
    far = [(-limit - 1, 0, 1)] * 5
    assert of_times((0, 0, 1), *far, (10, 10, 1)) == [1, 1, 1, 1, 1, 1, 2], "nor do they reset it"


def test_zscore_of_a_stuck_sensor() -> None:
    got = of_x((600, 7), (601, 7), (602, np.nan), (603, 7), expressions=["zscore(x,5m)"])
    np.testing.assert_array_equal(got[:, 0], [np.nan, 0, np.nan, 0])


def test_last_is_that_of_the_latest_event_then_arrival() -> None:
    event = np.array([600, 602, 601, 602, 603]) * S
    x = np.array([[1], [2], [3], [4], [np.nan]], dtype=np.float32)
    got = Features(Stream(("x",), (Window(300, 60),)), ["last(x,5m)"]).rows(event, event, x)
    np.testing.assert_array_equal(got[:, 0], [1, 2, 2, 4, 4])


def test_delta_is_to_the_reading_before_in_order_of_arrival() -> None:
    """A reading without x, of the future or late is a reading too."""
    event = np.array([100, 101, 1000, 90, 102]) * S
    arrival = np.array([100, 101, 102, 103, 104]) * S
    x = np.array([[1], [np.nan], [5], [7], [11]], dtype=np.float32)
    got = Features(Stream(("x",)), ["delta(x)"]).rows(event, arrival, x)[:, 0]
    np.testing.assert_array_equal(got, [np.nan, np.nan, np.nan, 2, 4])


def test_time_of_day_is_utc_and_before_1970_too() -> None:
    monday = 1_700_438_400  # 2023-11-20 00:00:00
    event = np.array([monday, monday - 1, monday + 86399, -1, 0]) * S
    got = Features(Stream(("x",)), ["hour()", "weekday()"]).rows(
        event, event, np.zeros((5, 1), np.float32)
    )
    np.testing.assert_array_equal(got, [[0, 0], [23, 6], [23, 0], [23, 2], [0, 3]])


def test_what_is_not_finite_is_missing() -> None:
    x = np.array([[1, 0], [np.inf, 2], [3e38, 1e-38], [2, 4]], dtype=np.float32)
    event = np.arange(4) * S
    got = Features(Stream(("x", "y")), ["x", "ratio(x,y)"]).rows(event, event, x)
    np.testing.assert_array_equal(got[:, 0], np.array([1, np.nan, 3e38, 2], np.float32))
    np.testing.assert_array_equal(got[:, 1], [np.nan, np.nan, np.nan, 0.5])


def closed_slowly(event: np.ndarray, values: np.ndarray) -> dict[int, np.ndarray]:
    """Windows of 5m/1m by their ends; everything in order and in time."""
    wanted = {}
    for end in range(int(event[0] // (60 * S)) * 60 * S, int(event[-1]) + 1, 60 * S):
        x = values[(event >= end - 300 * S) & (event < end), 0].astype(np.float64)
        if len(x):
            wanted[end] = np.array([x.mean(), x.min(), len(x)])
    return wanted


def test_closed_windows_are_listed_once() -> None:
    rng = np.random.default_rng(5)
    event = START + np.cumsum(rng.integers(1, 50, 500)) * S
    values = rng.normal(0, 1, (500, 1)).astype(np.float32)
    f = Features(
        Stream(("x",), (Window(300, 60),), lateness_s=0, idle_s=60),
        ["mean(x,5m)", "min(x,5m)", "count(x,5m)", "hour()"],
    )
    ends, rows = f.closed(event, event, values)
    wanted = closed_slowly(event, values)
    assert list(ends) == [e for e in wanted if e <= event[-1]] and len(ends) > 100
    np.testing.assert_allclose(rows[:, :3], [wanted[e] for e in ends], rtol=1e-5)
    np.testing.assert_array_equal(rows[:, 3], ends // (3600 * S) % 24)


def test_idle_close_lists_windows_before_their_end() -> None:
    s = Stream(("x",), (Window(300, 60),), lateness_s=0, idle_s=10)
    event = np.array([600, 601, 700, 701]) * S
    values = np.array([[1], [2], [3], [4]], dtype=np.float32)
    ends, rows = Features(s, ["count(x,5m)"]).closed(event, event, values)
    assert list(ends // S) == [660, 720, 780, 840, 900]
    assert set(rows[:, 0]) == {2}


@pytest.mark.parametrize(
    ("expressions", "part"),
    [
        (["z"], "no field"),
        (["mean(z,5m)"], "no field"),
        (["mean(x,7m)"], "0 windows of 7m"),
        (["mean(x,10m)"], "2 windows of 10m"),
        (["mean(x,8m)"], "no multiple"),
        (["mean(x,1d)"], "panes"),
        (["slope(x,1m)"], "two panes"),
        (["median(x,5m)"], "median"),
    ],
)
def test_what_the_stream_does_not_have_is_refused(expressions: list[str], part: str) -> None:
    windows = (
        Window(300, 60),
        Window(60),
        Window(600, 60),
        Window(600, 30),
        Window(480, 70),
        Window(86400, 60),
    )
    with pytest.raises(ExpressionError, match=part):
        Features(Stream(("x",), windows), expressions)


def test_windows_alike_are_one() -> None:
    """The appliance keeps each by its name; their panes are the same."""
    windows = (Window(300), Window(300, 300), Window(60))
    event, x = np.arange(3) * S, np.array([[1], [2], [3]], np.float32)
    got = Features(Stream(("x",), windows), ["mean(x,5m)"]).rows(event, event, x)
    np.testing.assert_array_equal(got[:, 0], np.array([1, 1.5, 2], np.float32))


def test_windows_are_as_convert_takes_them() -> None:
    f = Features(STREAM, ["mean( x, 300s)", "slope(y,1h)"])
    assert f.expressions == ("mean(x,5m)", "slope(y,1h)")
    assert f.windows == {"5m": "1m", "1h": "5m"}


def test_shapes_that_do_not_fit_are_refused() -> None:
    f, t = Features(STREAM, ["x"]), np.zeros(3, dtype=np.int64)
    with pytest.raises(ValueError, match="2 fields"):
        f.rows(t, t, np.zeros((3, 1), np.float32))
    with pytest.raises(ValueError, match="times"):
        f.rows(t[:2], t, np.zeros((3, 2), np.float32))
    assert f.rows(t[:0], t[:0], np.zeros((0, 2), np.float32)).shape == (0, 1)
