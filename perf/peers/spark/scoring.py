"""Three models of the size of the profile's, and their inputs; plain numpy and scikit-learn.

The trees are Spark's own, of random rows: what they say is worth nothing, what they cost is what
the profile's cost. `inputs_of_readings` needs no state; `Panes` keeps what the windows need.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FIELDS = ("temperature", "humidity", "voltage", "light")
TEMPERATURE, HUMIDITY, VOLTAGE, LIGHT = range(4)
STATUS, ANOMALY, HUMIDITY_EXPECTED = 16, 12, 14  # inputs of each model, in this order in a row
INPUTS = STATUS + ANOMALY + HUMIDITY_EXPECTED
TREES, DEPTH, ROWS, SEED = 20, 5, 20000, 1

PANE_S = 10
SHORT, LONG = 3, 30  # panes of the windows of 30 s and 5 min
TERMS = 3 + 3 * len(FIELDS)


def lesson(inputs: int) -> tuple[Floats, Floats]:
    """Rows and what is to be learnt from them; deep trees have something to say of it."""
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=(ROWS, inputs))
    return x, x.sum(axis=1) + np.sin(3 * x).sum(axis=1)


def classes(y: Floats) -> NDArray[np.int64]:
    return np.digitize(y, np.quantile(y, [0.6, 0.85]))


def inputs_of_readings(values: Floats) -> NDArray[np.float32]:
    """[readings, INPUTS]: the four fields where a model has room for them, the others imputed."""
    x = np.zeros((len(values), INPUTS), np.float32)
    x[:, :4] = values
    x[:, STATUS : STATUS + 2] = values[:, [TEMPERATURE, HUMIDITY]]
    first = STATUS + ANOMALY
    x[:, first : first + 2] = values[:, [TEMPERATURE, LIGHT]]
    return x


@dataclass
class Window:
    """Of each reading: sums of `terms`, least and greatest value of each field."""

    sums: Floats
    low: Floats
    high: Floats

    def of(self, f: int, now: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """mean, std, zscore, slope of field f."""
        n, t, tt = self.sums[:, :3].T
        x, xx, tx = self.sums[:, 3 + 3 * f : 6 + 3 * f].T
        mean = x / n
        std = np.sqrt(np.maximum(xx / n - mean * mean, 0))
        zscore = (now - mean) / np.where(std > 0, std, 1)
        spread = n * tt - t * t
        slope = (n * tx - t * x) / np.where(spread > 0, spread, 1)
        return mean, std, zscore, slope


def terms(t: Floats, values: Floats) -> Floats:
    columns = [np.ones_like(t), t, t * t]
    for x in values.T:
        columns += [x, x * x, t * x]
    return np.stack(columns, axis=1)


@dataclass
class Panes:
    """One sensor: sums, least and greatest of the panes of the longest window, and its last value.

    first_s: what times are counted from. The last pane is open.
    """

    first_s: float
    last: Floats
    ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    sums: Floats = field(default_factory=lambda: np.empty((0, TERMS)))
    low: Floats = field(default_factory=lambda: np.empty((0, len(FIELDS))))
    high: Floats = field(default_factory=lambda: np.empty((0, len(FIELDS))))

    def push(self, time_s: Floats, values: Floats) -> tuple[Window, Window, Floats]:
        """Windows of 30 s and 5 min as they are at each reading, and its step; in time order."""
        t = time_s - self.first_s
        pane = (time_s // PANE_S).astype(np.int64)
        summed = terms(t, values)
        parts: tuple[list[Window], list[Window]] = ([], [])
        for cut in np.split(np.arange(len(t)), np.flatnonzero(np.diff(pane)) + 1):
            running = Window(
                np.cumsum(summed[cut], axis=0),
                np.minimum.accumulate(values[cut]),
                np.maximum.accumulate(values[cut]),
            )
            here = int(pane[cut[0]])
            for windows, size in zip(parts, (SHORT, LONG), strict=True):
                windows.append(self._with_panes(running, here, size))
            self._keep(running, here)
        steps = np.diff(values, axis=0, prepend=self.last[None])
        self.last = values[-1]
        short, long = (
            Window(*(np.concatenate([getattr(w, k) for w in p]) for k in ("sums", "low", "high")))
            for p in parts
        )
        return short, long, steps

    def _with_panes(self, running: Window, here: int, size: int) -> Window:
        inside = self.ids > here - size
        if not inside.any():
            return running
        return Window(
            running.sums + self.sums[inside].sum(axis=0),
            np.minimum(running.low, self.low[inside].min(axis=0)),
            np.maximum(running.high, self.high[inside].max(axis=0)),
        )

    def _keep(self, running: Window, here: int) -> None:
        sums, low, high = running.sums[-1:], running.low[-1:], running.high[-1:]
        if len(self.ids) and self.ids[-1] == here:
            sums = sums + self.sums[-1:]
            low, high = np.minimum(low, self.low[-1:]), np.maximum(high, self.high[-1:])
            kept = slice(0, -1)
        else:
            kept = slice(1 if len(self.ids) == LONG else 0, None)
        self.ids = np.append(self.ids[kept], here)
        self.sums = np.concatenate([self.sums[kept], sums])
        self.low = np.concatenate([self.low[kept], low])
        self.high = np.concatenate([self.high[kept], high])

    def to_bytes(self) -> bytes:
        rows = np.column_stack([self.ids, self.sums, self.low, self.high])
        return np.concatenate([[self.first_s], self.last, rows.ravel()]).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Panes":
        flat = np.frombuffer(data)
        rows = flat[1 + len(FIELDS) :].reshape(-1, 1 + TERMS + 2 * len(FIELDS))
        low, high = rows[:, 1 + TERMS : -len(FIELDS)], rows[:, -len(FIELDS) :]
        ids = rows[:, 0].astype(np.int64)
        return cls(flat[0], flat[1 : 1 + len(FIELDS)], ids, rows[:, 1 : 1 + TERMS], low, high)


def inputs_of_windows(
    values: Floats, short: Window, long: Window, steps: Floats
) -> NDArray[np.float32]:
    """[readings, INPUTS]: the expressions of the profile, model after model."""
    x = np.empty((len(values), INPUTS), np.float32)
    status, anomaly, at = [], [], {}
    for f in (TEMPERATURE, HUMIDITY, VOLTAGE):
        mean, std, zscore, slope = at[f] = long.of(f, values[:, f])
        status += [steps[:, f], zscore, std, slope]
        if f != VOLTAGE:
            _, std_short, zscore_short, slope_short = short.of(f, values[:, f])
            status += [std_short]
            anomaly += [std_short, std, slope_short, slope, zscore_short, zscore]
    f = TEMPERATURE
    mean_short, std_short, _, _ = short.of(f, values[:, f])
    mean, std, _, slope = at[f]
    expected = [values[:, f], mean_short, short.low[:, f], short.high[:, f], std_short]
    expected += [mean, long.low[:, f], long.high[:, f], std, slope, steps[:, f]]
    light = long.of(LIGHT, values[:, LIGHT])[0]
    expected += [values[:, LIGHT], light, long.high[:, LIGHT]]
    x[:] = np.stack([*status, long.sums[:, 0], short.sums[:, 0], *anomaly, *expected], axis=1)
    return x


class Models:
    """scikit-learn's, as the bundles are made from."""

    def __init__(self) -> None:
        from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
        from sklearn.linear_model import LogisticRegression

        x, y = lesson(STATUS)
        self.status = RandomForestClassifier(
            TREES, max_depth=DEPTH, max_features=0.5, random_state=SEED
        ).fit(x, classes(y))
        x, y = lesson(ANOMALY)
        self.anomaly = LogisticRegression().fit(x, y > 0)
        x, y = lesson(HUMIDITY_EXPECTED)
        self.humidity = GradientBoostingRegressor(
            n_estimators=TREES, max_depth=DEPTH, random_state=SEED
        ).fit(x, y)

    def score(self, x: NDArray[np.float32]) -> tuple[Floats, Floats, Floats]:
        """Probabilities of the three classes, that of an anomaly, the humidity expected."""
        status, anomaly, humidity = np.split(x, [STATUS, STATUS + ANOMALY], axis=1)
        return (
            self.status.predict_proba(status),
            self.anomaly.predict_proba(anomaly)[:, 1],
            self.humidity.predict(humidity),
        )
