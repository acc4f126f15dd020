"""Relative humidity from the sensor's other fields: gradient-boosted trees."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from . import inputs, metrics
from .data import HUMIDITY, LIGHT, VOLTAGE, Sensor, thinned

TREES, DEPTH, SEED = 20, 5, 20240503
ABSENT = -1000.0

_TEMPERATURE = [
    "temperature",
    *(f"{s}(temperature,{w})" for w in ("30s", "5m") for s in ("mean", "min", "max", "std")),
    "slope(temperature,5m)",
    "delta(temperature)",
]
_LIGHT = ["light", "mean(light,5m)", "max(light,5m)"]
_VOLTAGE = ["voltage", "mean(voltage,5m)"]
INPUT_SETS = {
    "temperature alone": ["temperature"],
    "temperature": _TEMPERATURE,
    "temperature, light": _TEMPERATURE + _LIGHT,
    "temperature, light, voltage": _TEMPERATURE + _LIGHT + _VOLTAGE,
}
# Looked at, never chosen: two sets do not tell the hour, and in the others it names the day.
PROBE = "temperature, light, voltage, hour"
INPUT_SETS[PROBE] = [*INPUT_SETS["temperature, light, voltage"], "hour()"]
ALL_INPUTS = inputs.without_own_humidity(list(dict.fromkeys(sum(INPUT_SETS.values(), []))))

# Read less often, and without the fields that other sets lack: else the period and what is missing
# name the set, and the set has its own humidity (report: leaks).
THINNED = {"wsn-labelled": (6, 12, 60, 360), "library1": (5, 30), "library2": (5, 30)}


@dataclass(frozen=True)
class Rows:
    x: NDArray[np.float32]
    y: NDArray[np.float64]
    sensor: NDArray[np.str_]
    deployment: NDArray[np.str_]
    form: NDArray[np.str_]  # "" as recorded, else how it was made poorer

    def take(self, index: NDArray[Any]) -> "Rows":
        return Rows(*(getattr(self, k)[index] for k in vars(self)))

    @property
    def recorded(self) -> NDArray[np.bool_]:
        return self.form == ""

    @property
    def weight(self) -> NDArray[np.float64]:
        """Each deployment counts the same in each form, however often it was read."""
        kinds = np.char.add(self.deployment, self.form)
        _, which, count = np.unique(kinds, return_inverse=True, return_counts=True)
        return len(self.y) / (len(count) * count[which])


@dataclass(frozen=True)
class Choice:
    input_set: str
    learning_rate: float

    @property
    def inputs(self) -> list[str]:
        return INPUT_SETS[self.input_set]

    @property
    def columns(self) -> list[int]:
        return [ALL_INPUTS.index(e) for e in self.inputs]


CHOICES = [Choice(name, rate) for name in INPUT_SETS for rate in (0.1, 0.3)]


def _bare(sensor: Sensor) -> Sensor:
    values = sensor.values.copy()
    values[:, [VOLTAGE, LIGHT]] = np.nan
    return replace(sensor, values=values)


def _forms(sensor: Sensor) -> list[tuple[str, Sensor]]:
    found = [(f"{n} times rarer", thinned(sensor, n)) for n in THINNED.get(sensor.deployment, ())]
    if sensor.there[[VOLTAGE, LIGHT]].any():
        found.append(("climate alone", _bare(sensor)))
    return found


def _rows(sensor: Sensor, form: str) -> Rows:
    """Readings without a humidity have nothing to be compared with."""
    y = sensor.values[:, HUMIDITY].astype(np.float64)
    there = np.isfinite(y)
    x = inputs.rows(sensor, ALL_INPUTS)[there]
    texts = (np.full(len(x), text) for text in (sensor.id, sensor.deployment, form))
    return Rows(x, y[there], *texts)


def _joined(parts: list[Rows]) -> Rows:
    return Rows(*(np.concatenate([getattr(p, k) for p in parts]) for k in vars(parts[0])))


def rows_of(sensors: list[Sensor]) -> Rows:
    return _joined([_rows(s, "") for s in sensors])


def rows_to_learn(sensors: list[Sensor]) -> Rows:
    poorer = [_rows(p, form) for s in sensors for form, p in _forms(s)]
    return _joined([_rows(s, "") for s in sensors] + poorer)


def fit(choice: Choice, rows: Rows) -> Pipeline:
    model = make_pipeline(
        SimpleImputer(strategy="constant", fill_value=ABSENT, keep_empty_features=True),
        GradientBoostingRegressor(
            n_estimators=TREES,
            max_depth=DEPTH,
            learning_rate=choice.learning_rate,
            # No leaf tells of single rows: a bundle is passed on, the sets behind it may not be.
            min_samples_leaf=100,
            random_state=SEED,
        ),
    )
    weight = {"gradientboostingregressor__sample_weight": rows.weight}
    return model.fit(rows.x[:, choice.columns], rows.y, **weight)


def fit_linear(choice: Choice, rows: Rows) -> Pipeline:
    """Baseline: the same inputs, a plane."""
    model = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LinearRegression(),
    )
    weight = {"linearregression__sample_weight": rows.weight}
    return model.fit(rows.x[:, choice.columns], rows.y, **weight)


def mean_of(rows: Rows) -> float:
    """Baseline: one figure for all."""
    return float(np.average(rows.y, weights=rows.weight))


def cross(choice: Choice, rows: Rows, groups: NDArray[np.str_], folds: int) -> float:
    """RMSE over left-out groups as they were recorded, each deployment counted the same."""
    said = np.full(len(rows.y), np.nan)
    count = min(folds, len(np.unique(groups)))
    for train, held in GroupKFold(count).split(rows.x, groups=groups):
        held = held[rows.recorded[held]]
        model = fit(choice, rows.take(train))
        said[held] = model.predict(rows.x[held][:, choice.columns])
    judged = rows.take(rows.recorded)
    error = said[rows.recorded] - judged.y
    return float(np.sqrt(np.average(error**2, weights=judged.weight)))


def choose(rows: Rows, folds: int) -> tuple[Choice, list[dict[str, Any]]]:
    """By RMSE over left-out sensors."""
    table = []
    for choice in CHOICES:
        rmse = cross(choice, rows, rows.sensor, folds)
        table.append({**vars(choice), "rmse": metrics.rounded(rmse)})
    allowed = [i for i, c in enumerate(CHOICES) if c.input_set != PROBE]
    return CHOICES[min(allowed, key=lambda i: table[i]["rmse"])], table


def building(rows: Rows) -> NDArray[np.str_]:
    """Both deployments in the library were in the same rooms, with the same nodes."""
    return np.char.rstrip(rows.deployment, "0123456789")


def leaks(choice: Choice, rows: Rows, folds: int) -> dict[str, Any]:
    """RMSE on training sensors left out: what a set's name is worth, and what a new building is."""
    recorded = rows.take(rows.recorded)
    places = len(np.unique(building(rows)))
    found = {
        "new_sensor": cross(choice, rows, rows.sensor, folds),
        "new_sensor_period_names_the_set": cross(choice, recorded, recorded.sensor, folds),
    }
    if places > 1:
        found["new_building"] = cross(choice, rows, building(rows), places)
        found["new_building_mean"] = _cross_mean(recorded)
    return {k: metrics.rounded(v) for k, v in found.items()}


def _cross_mean(rows: Rows) -> float:
    """A building is said to be as humid as the mean of the others."""
    said = np.empty(len(rows.y))
    for name in np.unique(building(rows)):
        mine = building(rows) == name
        said[mine] = mean_of(rows.take(~mine))
    return float(np.sqrt(np.average((said - rows.y) ** 2, weights=rows.weight)))


def figures(rows: Rows, said: NDArray[np.float64]) -> dict[str, Any]:
    found = {"all": metrics.regression(rows.y, said)}
    for name in np.unique(rows.deployment):
        mine = rows.deployment == name
        found[str(name)] = metrics.regression(rows.y[mine], said[mine])
    mean = np.mean([found[str(n)]["rmse"] ** 2 for n in np.unique(rows.deployment)])
    found["deployments_alike"] = {"rmse": metrics.rounded(float(np.sqrt(mean)))}
    return found
