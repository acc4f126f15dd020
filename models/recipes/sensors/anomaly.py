"""Temperature anomaly: logistic regression on readings and windows, judged by whole events."""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from . import inputs, metrics, transplant
from .data import TEMPERATURE, Sensor, thinned
from .split import runs, while_windows_hold

SEED = 20240502
COPIES = 2
THINNED = {"wsn-labelled": (1, 6), "library1": (1,), "library2": (1,)}


def _of(field: str) -> list[str]:
    windows = [f"{s}({field},{w})" for w in ("30s", "5m") for s in ("mean", "min", "max", "std")]
    return [field, *windows, f"delta({field})", f"slope({field},30s)", f"slope({field},5m)"]


INPUT_SETS = {
    "temperature": _of("temperature"),
    "temperature, humidity": _of("temperature") + _of("humidity"),
    "moves only": [
        f"{s}({f},{w})"
        for f in ("temperature", "humidity")
        for s in ("std", "slope", "zscore")
        for w in ("30s", "5m")
    ],
}
ALL_INPUTS = list(dict.fromkeys(e for s in INPUT_SETS.values() for e in s))


@dataclass(frozen=True)
class View:
    sensor: Sensor  # label: rows of the event, copies included
    x: NDArray[np.float32]
    copy: bool


@dataclass(frozen=True)
class Choice:
    input_set: str
    c: float
    balanced: bool

    @property
    def inputs(self) -> list[str]:
        return INPUT_SETS[self.input_set]

    @property
    def columns(self) -> list[int]:
        return [ALL_INPUTS.index(e) for e in self.inputs]


CHOICES = [
    Choice(input_set, c, balanced)
    for input_set in INPUT_SETS
    for c in (0.001, 0.01, 0.1, 1.0)
    for balanced in (False, True)
]


def recorded(sensors: list[Sensor]) -> list[View]:
    return [View(s, inputs.rows(s, ALL_INPUTS), False) for s in sensors]


def copied(sensors: list[Sensor], shapes: list[transplant.Shape]) -> list[View]:
    views = []
    for s in sensors:
        for every in THINNED.get(s.deployment, ()):
            host = thinned(s, every)
            name = f"{s.id} {s.deployment} {every}"
            rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
            for made in transplant.copies(host, shapes, COPIES, rng):
                views.append(View(made, inputs.rows(made, ALL_INPUTS), True))
    return views


def shapes_of(sensors: list[Sensor]) -> list[transplant.Shape]:
    return [shape for s in sensors for shape in transplant.shapes(s)]


def stack(views: list[View]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    return np.concatenate([v.x for v in views]), np.concatenate([v.sensor.label for v in views])


def make(choice: Choice) -> Pipeline:
    return make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(
            C=choice.c,
            class_weight="balanced" if choice.balanced else None,
            max_iter=5000,
            random_state=SEED,
        ),
    )


def fit(choice: Choice, views: list[View]) -> Pipeline:
    x, label = stack(views)
    return make(choice).fit(x[:, choice.columns], label)


def probability(model: Pipeline, choice: Choice, views: list[View]) -> NDArray[np.float64]:
    x, _ = stack(views)
    return model.predict_proba(x[:, choice.columns])[:, 1]


def best_threshold(label: NDArray[np.uint8], score: NDArray[np.float64]) -> tuple[float, float]:
    """(threshold, F1): the first of the best on the precision-recall curve; above it is class 1."""
    precision, recall, thresholds = metrics.sk.precision_recall_curve(label, score)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    at = int(np.argmax(f1[:-1]))
    below = thresholds[at - 1] if at else 0.0
    return float((below + thresholds[at]) / 2), float(f1[at])


def choose(views: list[View], folds: int) -> tuple[Choice, float, list[dict[str, Any]]]:
    """By PR-AUC on training sensors left out in turn; the threshold from the same left-out rows."""
    groups = np.array([v.sensor.id for v in views])
    parts = list(GroupKFold(min(folds, len(set(groups)))).split(groups, groups=groups))
    table, thresholds = [], []
    for choice in CHOICES:
        label, score = [], []
        for train, held in parts:
            kept, left = [views[i] for i in train], [views[i] for i in held]
            label.append(stack(left)[1])
            score.append(probability(fit(choice, kept), choice, left))
        truth, said = np.concatenate(label), np.concatenate(score)
        threshold, f1 = best_threshold(truth, said)
        thresholds.append(threshold)
        auc = metrics.sk.average_precision_score(truth, said)
        table.append({**vars(choice), "pr_auc": metrics.rounded(auc), "f1": metrics.rounded(f1)})
    best = max(range(len(CHOICES)), key=lambda i: table[i]["pr_auc"])
    return CHOICES[best], thresholds[best], table


# --- the baseline -------------------------------------------------------------------------------


def off_median(sensor: Sensor) -> NDArray[np.float64]:
    """Temperature's distance from its mote's median, in MADs. Knows the whole day beforehand."""
    values = sensor.values[:, TEMPERATURE].astype(np.float64)
    middle = np.nanmedian(values)
    spread = 1.4826 * np.nanmedian(np.abs(values - middle))
    return np.nan_to_num(np.abs(values - middle) / max(spread, sensor.resolution[TEMPERATURE]))


def oracle(sensor: Sensor) -> NDArray[np.uint8]:
    """The threshold on this mote's temperature that its own labels like best: an upper bound."""
    values = np.nan_to_num(sensor.values[:, TEMPERATURE].astype(np.float64))
    if not sensor.label.any():
        return np.zeros(len(sensor), np.uint8)
    threshold, _ = best_threshold(sensor.label, values)
    return (values > threshold).astype(np.uint8)


# --- figures ------------------------------------------------------------------------------------


def event_figures(views: list[View], said: list[NDArray[np.uint8]]) -> dict[str, Any]:
    """
    Events found; alarms (runs of flagged readings), of these the ones outside any event, and of
    those again the ones that no window explains.
    """
    found = total = raised = outside = elsewhere = 0
    delays = []
    for view, flags in zip(views, said, strict=True):
        near = while_windows_hold(view.sensor)
        for first, last in runs(view.sensor.label):
            hits = np.flatnonzero(flags[first : last + 1])
            total += 1
            found += bool(len(hits))
            delays += [int(hits[0])] if len(hits) else []
        for first, last in runs(flags):
            raised += 1
            outside += not view.sensor.label[first : last + 1].any()
            elsewhere += not near[first : last + 1].any()
    days = sum(v.sensor.days for v in views)
    return {
        "events": total,
        "events_found": found,
        "event_recall": metrics.rounded(found / total) if total else None,
        "alarms": raised,
        "alarms_outside_events": outside,
        "alarms_elsewhere": elsewhere,
        "alarm_precision": metrics.rounded((raised - outside) / raised) if raised else None,
        "false_alarms_per_sensor_day": metrics.rounded(outside / days),
        "sensor_days": metrics.rounded(days),
        "readings_until_found": delays,
    }


def figures(
    views: list[View], said: list[NDArray[np.uint8]], score: list[NDArray[np.float64]]
) -> dict[str, Any]:
    label = np.concatenate([v.sensor.label for v in views])
    rows = metrics.binary(label, np.concatenate(said), np.concatenate(score))
    return {**rows, **event_figures(views, said)}
