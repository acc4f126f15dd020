"""What each model learns, from the training sensors alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline

from . import anomaly, faults, golden, humidity, metrics, status
from .bundles import Trained
from .data import Sensor

FOLDS = 3

Choice = status.Choice | anomaly.Choice | humidity.Choice


@dataclass(frozen=True)
class Lesson:
    """A model, how it was chosen, and what its baselines learned from the same rows."""

    trained: Trained
    choice: Choice
    facts: dict[str, Any]
    baseline: dict[str, Any] = field(default_factory=dict)


def _licensed(sensors: list[Sensor]) -> NDArray[np.bool_]:
    return np.concatenate([np.full(len(s), s.deployment == golden.LICENSED) for s in sensors])


def _facts(
    choice: Choice, table: list[dict[str, Any]], sensors: list[Sensor], rows: int
) -> dict[str, Any]:
    return {
        "chosen": vars(choice),
        "inputs": choice.inputs,
        "cross_validation": table,
        "training": {"sensors": len({s.id for s in sensors}), "rows": rows},
    }


def _golden(x: NDArray[np.float32], sensors: list[Sensor], seed: int) -> NDArray[np.float32]:
    return golden.rows(x, _licensed(sensors), np.random.default_rng(seed))


def train_status(sensors: list[Sensor]) -> Lesson:
    views = status.broken_views(sensors, faults.STRENGTHS + faults.GROSS)
    choice, table = status.choose(views, FOLDS)
    x, truth = status.stack(views)
    x = x[:, choice.columns]
    licensed = np.concatenate(
        [np.full(int(v.kept.sum()), v.sensor.deployment == golden.LICENSED) for v in views]
    )
    trained = Trained(
        name="status",
        inputs=choice.inputs,
        estimator=make_pipeline(status.fit(choice, views)),
        golden=golden.rows(x, licensed, np.random.default_rng(status.SEED)),
        classes=faults.CLASSES,
        missing="branch",
    )
    facts = _facts(choice, table, sensors, len(truth))
    stuck_after = status.choose_rule(views)
    facts["training"]["class_rates"] = [
        round(float(np.mean(truth == k)), 4) for k in range(len(faults.CLASSES))
    ]
    facts["rule_stuck_after"] = stuck_after
    facts["leaks"] = {"mcc_of_the_set": metrics.rounded(status.mcc_of_the_set(views, FOLDS))}
    facts["larger"] = {
        **vars(status.LARGER),
        "mcc": metrics.rounded(status.cross(choice, views, FOLDS, status.LARGER)),
    }
    return Lesson(trained, choice, facts, {"stuck_after": stuck_after})


def train_anomaly(sensors: list[Sensor]) -> Lesson:
    shapes = anomaly.shapes_of(sensors)
    recorded = anomaly.recorded(sensors)
    views = recorded + anomaly.copied(sensors, shapes)
    choice, threshold, table = anomaly.choose(views, FOLDS)
    x, label = anomaly.stack(views)
    trained = Trained(
        name="anomaly",
        inputs=choice.inputs,
        estimator=anomaly.fit(choice, views),
        golden=_golden(x[:, choice.columns], [v.sensor for v in views], anomaly.SEED),
        classes=("normal", "anomaly"),
        threshold=threshold,
    )
    labelled = [v for v in recorded if v.sensor.label.any()]
    k, _ = anomaly.best_threshold(
        np.concatenate([v.sensor.label for v in labelled]),
        np.concatenate([anomaly.off_median(v.sensor) for v in labelled]),
    )
    facts = _facts(choice, table, sensors, len(label))
    facts["training"] |= {
        "events": len(shapes),
        "event_rows": int(sum(v.sensor.label.sum() for v in recorded)),
        "copies": len(views) - len(recorded),
    }
    facts |= {"threshold": threshold, "baseline_mads": k}
    return Lesson(trained, choice, facts, {"mads": k})


def train_humidity(sensors: list[Sensor]) -> Lesson:
    rows = humidity.rows_to_learn(sensors)
    choice, table = humidity.choose(rows, FOLDS)
    licensed = rows.deployment == golden.LICENSED
    rng = np.random.default_rng(humidity.SEED)
    trained = Trained(
        name="humidity",
        inputs=choice.inputs,
        estimator=humidity.fit(choice, rows),
        golden=golden.rows(rows.x[:, choice.columns], licensed, rng),
        unit="%",
    )
    baseline = {"mean": humidity.mean_of(rows), "linear": humidity.fit_linear(choice, rows)}
    facts = _facts(choice, table, sensors, len(rows.y))
    facts["leaks"] = humidity.leaks(choice, rows, FOLDS)
    return Lesson(trained, choice, facts, baseline)


TRAINERS: dict[str, Callable[[list[Sensor]], Lesson]] = {
    "status": train_status,
    "anomaly": train_anomaly,
    "humidity": train_humidity,
}
