"""What the models say of sensors that they never saw, beside what is said without them."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import anomaly, faults, humidity, metrics, split, status
from .bundles import Engine
from .data import Sensor
from .train import Lesson

Result = dict[str, Any]
Array = NDArray[Any]


def _parts(whole: Array, views: Iterable[Any]) -> list[Array]:
    """Back from all views' rows to those of each."""
    return np.split(whole, np.cumsum([len(v.x) for v in views])[:-1])


# --- status -------------------------------------------------------------------------------------


def _forest_says(lesson: Lesson, engine: Engine, views: list[status.View]) -> status.Said:
    x = np.concatenate([v.x[:, lesson.choice.columns] for v in views])
    said = engine.says(lesson.trained, x)
    labels = _parts(said.label.astype(np.uint8), views)
    scores = _parts(1 - said.out[:, faults.OK], views)
    return list(zip(labels, scores, strict=True))


def _rule_says(views: list[status.View], stuck_after: int) -> status.Said:
    labels = [status.rule(v, stuck_after) for v in views]
    return [(label, (label != faults.OK).astype(float)) for label in labels]


def _by_group(views: list[status.View], said: status.Said, how: Callable[..., Any]) -> Result:
    names = [status.group_of(v) for v in views]
    found = {}
    for name in sorted(set(names)):
        mine = [i for i, n in enumerate(names) if n == name]
        found[name] = how([views[i] for i in mine], [said[i] for i in mine])
    return found


def _status_on(lesson: Lesson, engine: Engine, sensors: list[Sensor]) -> Result:
    """Of one side, forest and rule alike."""
    views = status.broken_views(sensors, faults.STRENGTHS)
    gross = status.broken_views(sensors, faults.GROSS)
    clean = status.clean_views(sensors)
    after = lesson.baseline["stuck_after"]
    found = {}
    for name, says in (
        ("forest", lambda v: _forest_says(lesson, engine, v)),
        ("rule", lambda v: _rule_says(v, after)),
    ):
        said, said_gross, said_clean = says(views), says(gross), says(clean)
        found[name] = {
            "readings": sum(len(s) for s in sensors),  # recorded; rows: each several times
            **status.figures(views, said),
            "by_group": _by_group(views, said, status.figures),
            "recall": status.recall_table(views, said),
            "recall_by_group": _by_group(views, said, status.recall_table),
            "gross": status.figures(gross, said_gross),
            "recall_gross": status.recall_table(gross, said_gross),
            "recall_gross_by_group": _by_group(gross, said_gross, status.recall_table),
            "false_alarms": status.false_alarms(clean, said_clean),
            "false_alarms_by_group": _by_group(clean, said_clean, status.false_alarms),
            "during_events": status.during_events(clean, said_clean),
        }
    return found


def judge_status(lesson: Lesson, engine: Engine, sensors: list[Sensor]) -> tuple[Result, Result]:
    found = {"test": _status_on(lesson, engine, split.of_side(sensors, split.TEST))}
    outside = split.of_side(sensors, split.OUTSIDE)
    if outside:
        found["outside"] = _status_on(lesson, engine, outside)
    return found, {}


# --- anomaly ------------------------------------------------------------------------------------


def _anomaly_says(
    lesson: Lesson, engine: Engine, views: list[anomaly.View]
) -> tuple[list[Array], list[Array]]:
    x = np.concatenate([v.x[:, lesson.choice.columns] for v in views])
    said = engine.says(lesson.trained, x)
    return _parts(said.label.astype(np.uint8), views), _parts(said.out[:, 0], views)


def _baselines(views: list[anomaly.View], mads: float) -> Result:
    off = [anomaly.off_median(v.sensor) for v in views]
    never = [np.zeros(len(v.sensor), np.uint8) for v in views]
    best = [anomaly.oracle(v.sensor) for v in views]
    return {
        "never": anomaly.figures(views, never, [n.astype(float) for n in never]),
        "threshold": anomaly.figures(views, [(o > mads).astype(np.uint8) for o in off], off),
        "threshold_knowing_the_labels": anomaly.figures(
            views, best, [v.sensor.values[:, 0].astype(float) for v in views]
        ),
    }


def _other_way_round(lesson: Lesson, sensors: list[Sensor]) -> Result:
    """Learned from the held-out event, judged on the one that the model was trained with."""
    test = split.of_side(sensors, split.TEST)
    views = anomaly.recorded(test) + anomaly.copied(test, anomaly.shapes_of(test))
    model = anomaly.fit(lesson.choice, views)
    judged = anomaly.recorded(_labelled_motes(split.of_side(sensors, split.TRAIN)))
    score = _parts(anomaly.probability(model, lesson.choice, judged), judged)
    said = [(s > lesson.trained.threshold).astype(np.uint8) for s in score]
    return anomaly.figures(judged, said, score)


def _labelled_motes(sensors: list[Sensor]) -> list[Sensor]:
    return [s for s in sensors if s.deployment == "wsn-labelled"]


def judge_anomaly(lesson: Lesson, engine: Engine, sensors: list[Sensor]) -> tuple[Result, Result]:
    test = split.of_side(sensors, split.TEST)
    views = anomaly.recorded(_labelled_motes(test))
    said, score = _anomaly_says(lesson, engine, views)
    found = {
        "test": anomaly.figures(views, said, score),
        "baselines": _baselines(views, lesson.baseline["mads"]),
        "other_way_round": _other_way_round(lesson, sensors),
    }
    copies = anomaly.copied(test, anomaly.shapes_of(test))
    found["copies"] = anomaly.figures(copies, *_anomaly_says(lesson, engine, copies))
    found["quiet"] = {}
    quiet = [s for s in sensors if split.side_of(s.id) != split.TRAIN and not s.label.any()]
    for name in sorted({s.deployment for s in quiet}):
        calm = anomaly.recorded([s for s in quiet if s.deployment == name])
        flags, _ = _anomaly_says(lesson, engine, calm)
        found["quiet"][name] = anomaly.event_figures(calm, flags)
    return found, {"views": views, "score": score, "threshold": lesson.trained.threshold}


# --- humidity -----------------------------------------------------------------------------------


def _humidity_on(
    lesson: Lesson, engine: Engine, sensors: list[Sensor]
) -> tuple[Result, humidity.Rows, Array]:
    rows = humidity.rows_of(sensors)
    columns, base = lesson.choice.columns, lesson.baseline
    said = engine.says(lesson.trained, rows.x[:, columns]).out[:, 0]
    mean = np.full(len(rows.y), base["mean"])
    linear = base["linear"].predict(rows.x[:, columns].astype(np.float64))
    found = {
        "trees": humidity.figures(rows, said),
        "mean": humidity.figures(rows, mean),
        "linear": humidity.figures(rows, linear),
    }
    return found, rows, said


def _a_model_a_site(lesson: Lesson, sensors: list[Sensor]) -> Result:
    """RMSE when each deployment's test sensors are told from its own training sensors alone."""
    found = {}
    for name in sorted({s.deployment for s in sensors if split.side_of(s.id) == split.TRAIN}):
        here = [s for s in sensors if s.deployment == name]
        learned = humidity.rows_of(split.of_side(here, split.TRAIN))
        judged = humidity.rows_of(split.of_side(here, split.TEST))
        model = humidity.fit(lesson.choice, learned)
        said = {
            "trees": model.predict(judged.x[:, lesson.choice.columns]),
            "mean": np.full(len(judged.y), humidity.mean_of(learned)),
        }
        found[name] = {k: metrics.regression(judged.y, v)["rmse"] for k, v in said.items()}
    return found


def judge_humidity(lesson: Lesson, engine: Engine, sensors: list[Sensor]) -> tuple[Result, Result]:
    result, rows, said = _humidity_on(lesson, engine, split.of_side(sensors, split.TEST))
    found = {"test": result, "a_model_a_site": _a_model_a_site(lesson, sensors)}
    outside = split.of_side(sensors, split.OUTSIDE)
    if outside:
        found["outside"] = _humidity_on(lesson, engine, outside)[0]
    return found, {"rows": rows, "said": said}


JUDGES: dict[str, Callable[[Lesson, Engine, list[Sensor]], tuple[Result, Result]]] = {
    "status": judge_status,
    "anomaly": judge_anomaly,
    "humidity": judge_humidity,
}


def in_bundle(name: str, result: Result) -> Result:
    """The few figures that travel with a model, and what they are of."""
    data = "sensors held out of training: split.json of the recipe; rows and baselines: report.md"
    if name == "status":
        keys = ("rows", "accuracy", "majority_class_rate", "balanced_accuracy", "mcc", "pr_auc")
        forest = result["test"]["forest"]
        alarms = forest["false_alarms_by_group"]
        return {
            "data": f"{data}; faults injected at 0.5 to 6 sigma",
            **{k: forest[k] for k in keys},
            "false_alarms_per_sensor_day": {
                name: f["alarms_per_sensor_day"] for name, f in alarms.items()
            },
        }
    if name == "anomaly":
        keys = ("rows", "accuracy", "majority_class_rate", "balanced_accuracy", "mcc", "pr_auc")
        keys += ("recall", "precision", "events", "events_found", "false_alarms_per_sensor_day")
        return {"data": data, **{k: result["test"][k] for k in keys}}
    trees = result["test"]["trees"]["all"]
    baselines = {f"rmse_of_{n}": result["test"][n]["all"]["rmse"] for n in ("mean", "linear")}
    return {"data": data, **trees, **baselines}
