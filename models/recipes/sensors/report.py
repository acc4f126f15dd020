"""report.md: what the figures are, what they are beside, and what they are worth."""

import re
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

from . import plots
from .faults import DEGRADED_FROM, FAULTY_FROM, STRENGTHS

Found = dict[str, Any]
YARDSTICK = {"status": "95.2 % accuracy", "anomaly": "92.1 % accuracy", "humidity": "RMSE 2.3"}


def percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def flowed(text: str) -> str:
    """Paragraphs and list items to one width, whatever the figures in them took."""
    blocks = []
    for block in text.split("\n\n"):
        if block.startswith(("|", "#", "!")):
            blocks.append(block)
            continue
        items = re.split(r"\n(?=- )", block)
        wrap = partial(textwrap.fill, width=118, break_long_words=False, break_on_hyphens=False)
        indent = ["  " if i.startswith("- ") else "" for i in items]
        filled = [
            wrap(" ".join(i.split()), subsequent_indent=d)
            for i, d in zip(items, indent, strict=True)
        ]
        blocks.append("\n".join(filled))
    return "\n\n".join(b for b in blocks if b).strip() + "\n"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _classification(names: dict[str, Found]) -> str:
    head = ["", "rows", "accuracy", "majority", "balanced", "MCC", "PR-AUC", "of chance"]
    return table(
        head,
        [
            [
                name,
                f"{f['rows']:,}",
                percent(f["accuracy"], 2),
                percent(f["majority_class_rate"], 2),
                percent(f["balanced_accuracy"]),
                number(f["mcc"], 3),
                number(f["pr_auc"], 3),
                number(f["pr_auc_of_chance"], 3),
            ]
            for name, f in names.items()
        ],
    )


# --- the parts ----------------------------------------------------------------------------------


def _summary(m: Found) -> str:
    forest, rule = m["status"]["test"]["forest"], m["status"]["test"]["rule"]
    event, cut = m["anomaly"]["test"], m["anomaly"]["baselines"]["threshold"]
    trees, mean = m["humidity"]["test"]["trees"]["all"], m["humidity"]["test"]["mean"]["all"]
    linear = m["humidity"]["test"]["linear"]["all"]
    return table(
        ["model", "on held-out sensors", "beside", "yardstick"],
        [
            [
                "status",
                f"accuracy {percent(forest['accuracy'])}, balanced "
                f"{percent(forest['balanced_accuracy'])}, MCC {number(forest['mcc'], 3)}",
                f"majority {percent(forest['majority_class_rate'])}; range and stuck-at rule: MCC "
                f"{number(rule['mcc'], 3)}",
                YARDSTICK["status"],
            ],
            [
                "anomaly",
                f"{event['events_found']} of {event['events']} events, precision of rows "
                f"{percent(event['precision'])}, PR-AUC {number(event['pr_auc'], 3)}, accuracy "
                f"{percent(event['accuracy'], 2)}",
                f"never: accuracy {percent(event['majority_class_rate'], 2)}; per-mote threshold: "
                f"PR-AUC {number(cut['pr_auc'], 3)}",
                YARDSTICK["anomaly"],
            ],
            [
                "humidity",
                f"RMSE {number(trees['rmse'])} %RH",
                f"mean {number(mean['rmse'])}, linear {number(linear['rmse'])}",
                YARDSTICK["humidity"],
            ],
        ],
    )


def _recall(rows: list[Found], stronger: list[Found]) -> str:
    cells = {(r["fault"], r["strength"]): r for r in stronger}
    cells |= {(r["fault"], r["strength"]): r for r in rows}
    strengths = sorted({s for _, s in cells if s > 0})
    lines = []
    for kind in ("drift", "spike", "noise", "battery"):
        found = [cells.get((kind, s)) for s in strengths]
        if any(found):
            shares = [
                f"{100 * r['row_recall']:.0f} / {100 * r['episode_recall']:.0f}" if r else "-"
                for r in found
            ]
            lines.append([kind, *shares])
    text = table(["% of rows / of episodes", *[f"{s:g}" for s in strengths]], lines)
    stuck = cells.get(("stuck", 0.0))
    if stuck:
        text += (
            f"\n\nStuck: {percent(stuck['row_recall'])} of rows, "
            f"{percent(stuck['episode_recall'])} of {stuck['episodes']} episodes."
        )
    return text


def _alarms(groups: Found, all_of: Found) -> str:
    rows = [
        [
            name,
            number(f["sensor_days"], 1),
            number(f["alarms_per_sensor_day"], 1),
            percent(f["row_rate"], 2),
        ]
        for name, f in {**groups, "all": all_of}.items()
    ]
    return table(["read every", "sensor days", "false alarms a day", "rows"], rows)


def _outside_status(found: Found) -> str:
    if "outside" not in found:
        return ""
    forest, rule = found["outside"]["forest"], found["outside"]["rule"]
    alarms = forest["false_alarms"]
    return (
        "\n**A building that no training row came from** (occupancy; values averaged over a minute "
        f"by its author).\n\n{_classification({'forest': forest, 'rule': rule})}\n\n"
        f"{number(alarms['alarms_per_sensor_day'], 1)} false alarms a sensor and day, "
        f"{percent(alarms['row_rate'])} of rows.\n"
    )


def _status(found: Found) -> str:
    forest, rule = found["test"]["forest"], found["test"]["rule"]
    alarms, theirs = forest["false_alarms"], rule["false_alarms"]
    better = "more" if forest["mcc"] > rule["mcc"] else "no more"
    groups = _classification({"all": forest, **forest["by_group"]})
    return f"""## 1. Status: ok, degraded, faulty

Random forest, 20 trees of depth 5 on {len(found["inputs"])} inputs. Real readings, broken as
`penstock-sim` breaks them, in multiples of the sensor's own noise (1.4826 MAD of its steps /
sqrt 2, at least its resolution, to which faulty values are rounded). A reading is degraded from
{DEGRADED_FROM:g} sigma on, faulty from {FAULTY_FROM:g}; a drift and a battery by what they have
come to, stuck from the second reading on. Episodes last 5 to 20 minutes and at least 12 to 36
readings; strengths {STRENGTHS[0]:g} to {STRENGTHS[-1]:g} in equal shares, so that more than
half of what is to be found is below 3 sigma. One row of seven is not ok: accuracy says little.

{_classification({"forest": forest, "rule": rule})}

The rule: outside the profile's range, or {found["rule_stuck_after"]} equal values in a row (the
count that does best on the training sensors). By MCC the forest tells {better} than the rule.

Recall on held-out sensors by strength in sigma; from 12 on stronger than anything trained with:

{_recall(forest["recall"], forest["recall_stronger"])}

The rule's: {_stuck_of(rule)}. By chance, in readings that nobody broke, the forest calls
{percent(alarms["row_rate"])} of rows and {percent(alarms["stretch_rate"])} of stretches as long
as an episode not ok.

![recall by strength](status.png)

False alarms on readings that nobody broke; the rule has
{number(theirs["alarms_per_sensor_day"], 1)} a day and {percent(theirs["row_rate"], 2)} of rows:

{_alarms(forest["false_alarms_by_group"], alarms)}

By set and period; a sensor read every half hour has one value in its windows, and little but
the step to the value before can be told of it:

{groups}

Of the rows of the real, labelled event, {percent(forest["during_events"])} are called not ok:
by these inputs a kettle under a sensor and a broken sensor look alike. They are in neither
training nor figures. {_outside_status(found)}"""


def _stuck_of(part: Found) -> str:
    for r in part["recall"]:
        if r["fault"] == "stuck":
            return (
                f"stuck, {percent(r['row_recall'])} of rows and {percent(r['episode_recall'])} of "
                "episodes, of the others what chance gives"
            )
    return "nothing"


def _event_row(name: str, f: Found) -> list[str]:
    rows = [percent(f.get(k)) for k in ("recall", "precision")]
    return [
        name,
        f"{f['events_found']} of {f['events']}",
        *rows,
        number(f.get("pr_auc"), 3),
        number(f.get("mcc"), 3),
        percent(f.get("accuracy"), 2),
        f"{f['alarms_outside_events']} of {f['alarms']}",
        number(f["false_alarms_per_sensor_day"], 1),
    ]


def _anomaly(found: Found) -> str:
    head = ["", "events", "recall", "precision", "PR-AUC", "MCC", "accuracy"]
    head += ["false of all alarms", "false a sensor and day"]
    base, test = found["baselines"], found["test"]
    rows = [
        _event_row("logistic regression", test),
        _event_row("never", base["never"]),
        _event_row("per-mote threshold", base["threshold"]),
        _event_row("the same, knowing the labels", base["threshold_knowing_the_labels"]),
        _event_row("the other way round", found["other_way_round"]),
        _event_row("copies of the held-out event", found["copies"]),
    ]
    quiet = [
        [
            n,
            number(f["sensor_days"], 1),
            str(f["alarms"]),
            number(f["false_alarms_per_sensor_day"], 2),
        ]
        for n, f in found["quiet"].items()
    ]
    delay = ", ".join(str(d) for d in test["readings_until_found"]) or "never"
    return f"""## 2. Temperature anomaly

Logistic regression on {len(found["inputs"])} inputs that say how temperature and humidity move,
not where they are. The labelled set has two events, {found["training"]["event_rows"]} rows of
mote 1 (trained on) and {test["confusion"][1][0] + test["confusion"][1][1]} of mote 4 (held out
with its mote). From one event a model learns its shape; so {found["training"]["copies"]} copies
of it, 0.3 to 1.2 times as large and 0.5 to 2 times as long, were laid on other training
sensors, and inputs, C and threshold chosen on sensors left out.

{table(head, rows)}

The threshold of the baseline is on temperature's distance from the mote's median in MADs, and
is told the mote's whole day beforehand; its row below is told the labels too, and takes the
threshold that fits each mote best. "The other way round" is trained on mote 4's event and
judged on motes 1 and 3, scored by scikit-learn: the second half of a cross-validation that two
events allow. The copies on held-out sensors have one shape only; they say that host and period
do not matter much, not that another kind of event is found. "Events found" counts one row as
enough; the held-out one was found after {delay} readings.

![the held-out event](anomaly.png)

Held-out sensors without a labelled event, alarms:

{table(["set", "sensor days", "alarms", "a sensor and day"], quiet)}
"""


def _rmse_rows(part: Found) -> list[list[str]]:
    names = [n for n in part["trees"] if n != "deployments_alike"]
    return [
        [n, f"{part['trees'][n]['rows']:,}", *(number(part[k][n]["rmse"]) for k in _RMSE_OF)]
        for n in names
    ]


_RMSE_OF = ("trees", "mean", "linear")


def _humidity(found: Found) -> str:
    site, leaks = found["a_model_a_site"], found["leaks"]
    rows = _rmse_rows(found["test"])
    rows = [[*r, number(site.get(r[0]))] for r in rows]
    new = ""
    if "new_building" in leaks:
        new = (
            f"A building left out of training as a whole: {number(leaks['new_building'])}, where "
            f"the mean of the others gives {number(leaks['new_building_mean'])}. "
        )
    if "outside" in found:
        trees, mean, linear = (found["outside"][k]["all"]["rmse"] for k in _RMSE_OF)
        new += (
            f"The office of the occupancy set, never trained on: {number(trees)}, mean "
            f"{number(mean)}, linear {number(linear)}. "
        )
    return f"""## 3. Humidity

Gradient-boosted trees, 20 of depth 5 on {len(found["inputs"])} inputs, none derived from the
sensor's own humidity, none of the reading before. RMSE in % relative humidity; "a model a site"
learns from that set's training sensors alone.

{table(["set", "rows", "trees", "mean", "linear", "a model a site"], rows)}

![said and measured](humidity.png)

{new}**What the air holds is not in the other fields of one sensor.** Within one building
temperature says much of it, across buildings nothing; train it on the site's own journal before
its figure is used.
"""


def _leaks(m: Found) -> str:
    status, humid = m["status"]["leaks"], m["humidity"]["leaks"]
    probe = [r for r in m["humidity"]["cross_validation"] if "hour" in r["input_set"]]
    hour = min(r["rmse"] for r in probe)
    return f"""## Leaks that were looked for

- **One sensor on both sides.** Split by sensor, a node that was used in two deployments on one
  side; a test compares. Sensors of one room share the air of one day all the same: hence the
  figures for new buildings.
- **Neighbouring rows, halves of an event.** No row-wise split anywhere, whole events held out;
  cross-validation leaves out sensors with all their copies.
- **The future.** Inputs come from the function that the appliance's own is tested against; a
  test changes all later readings and sees no input move. The baseline of the anomaly knows the
  future, the model not.
- **The set instead of the fault.** Every sensor is broken alike, and is read at several
  periods. A forest that sees only how many values a window has and which inputs are missing
  gets an MCC of {number(status["mcc_of_the_set"], 3)} (left-out training sensors). Levels are
  no inputs of status and anomaly.
- **The set instead of the humidity.** It was there: each set has its own humidity, and period
  and missing fields name it. With sensors as they are recorded, cross-validation gives
  {number(humid["new_sensor_period_names_the_set"])}; with sensors also read less often, and
  without voltage and light, {number(humid["new_sensor"])}, which is what is shipped. `hour()`
  would give {number(hour)}: it was not allowed, for two sets do not tell the hour, and in the
  others it names the day.
- **The converter's grid.** An injected value off the sensor's grid would give any fault away:
  all are rounded.
- **The test.** Choices are made on training sensors alone (`--train-only` reads no test row);
  test figures are of one run.
"""


def _demo(found: Found) -> str:
    demo = found["split"]["demo"]
    may = "\n".join(
        f"- `{d['file']}`, rows {d['rows'][0]} to {d['rows'][1]}"
        + "".join(f", labelled {a} to {b}" for a, b in d["labelled_rows"])
        for d in demo["may_stream"]
    )
    never = ", ".join(f"`{n}`" for n in demo["must_not_stream"])
    return f"""## What may be shown

Held out, so that a demo may stream them with their labels (rows counted from 0 behind the header):

{may}

Trained on, not to be shown as if they were new: {never}. All sensors, events and rows:
`split.json`.
"""


def _agreement(found: Found) -> str:
    parts = [
        f"{name}: {a['rows']:,} rows, {a['wrong_leaves']} wrong leaves, {a['wrong_classes']} wrong "
        f"classes, outputs within {a['greatest_difference']:.1e}"
        for name, a in found["agreement"].items()
    ]
    return "; ".join(parts)


def _data(found: Found) -> str:
    rows = [
        [name, str(d["train"]), str(d["test"]), f"{d['rows']:,}", d["fields"]]
        for name, d in found["deployments"].items()
    ]
    missing = ""
    if found["missing"]:
        missing = (
            f"\n\nNot there, so not in these figures: {', '.join(found['missing'])}. Without them "
            "there is no voltage (no battery fault), no light, and no sensor that is read less "
            "often than every five seconds but those made from these."
        )
    text = table(["deployment", "sensors trained on", "held out", "rows", "fields"], rows)
    return text + missing


def write(found: Found, figures: Found, out: Path) -> None:
    m = found["models"]
    plots.status(m["status"], out / "status.png")
    plots.anomaly(figures["anomaly"], out / "anomaly.png")
    plots.humidities(m["humidity"], figures["humidity"], out / "humidity.png")
    text = f"""# Models of climate sensors: what they say, and what that is worth

Written by `models/recipes/sensors`; every figure is also in `metrics.json`. All are of sensors
and events that nothing was trained or chosen on. The yardsticks are of the system that this one
replaces; what they were measured on is not known.

{_summary(m)}

Scored by {found["scored_by"]}, compared with scikit-learn row by row: {_agreement(found)}.

{_data(found)}

{_status(m["status"])}
{_anomaly(m["anomaly"])}
{_humidity(m["humidity"])}
{_leaks(m)}
{_demo(found)}"""
    (out / "report.md").write_text(flowed(text))
