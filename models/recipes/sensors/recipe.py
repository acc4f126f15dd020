#!/usr/bin/env python3
"""
Trains, converts and judges the models of climate sensors: status, anomaly, humidity.

Writes NAME.psm, report.md with its plots, metrics.json and split.json. The same data and the same
versions of the libraries give the same bytes.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
sys.path[:0] = [str(HERE.parent), str(ROOT / "models" / "export" / "src")]

from sensors import data, judge, report, split, train  # noqa: E402
from sensors.bundles import Engine, write  # noqa: E402

BEGAN = time.monotonic()
SHIPPED = ROOT / "firmware-sim" / "data"


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGAN:7.1f} s  {text}", flush=True)


def plain(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def overview(sensors: list[data.Sensor]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for s in sensors:
        names = [n for n, there in zip(data.FIELDS, s.there, strict=True) if there]
        entry = {"train": 0, "test": 0, "outside": 0, "rows": 0, "fields": ", ".join(names)}
        entry = found.setdefault(s.deployment, entry)
        entry[split.side_of(s.id)] += 1
        entry["rows"] += len(s)
    return found


def run(folder: Path, out: Path, penstock: Path | None, judged: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    sensors, places = data.load(folder, SHIPPED)
    digests = data.digests(places)
    say(f"{len(sensors)} sensors of {', '.join(places)}")
    part = ["wsn-labelled"] if "shipped" in places else []  # of it that is what is shipped
    found: dict[str, Any] = {
        "files_sha256": digests,
        "deployments": overview(sensors),
        "missing": [name for name in data.LOADERS if name not in {*places, *part}],
        "scored_by": "the C engine" if penstock else "the Python scorer",
        "split": split.describe(sensors),
        "models": {},
        "agreement": {},
        "bundles_sha256": {},
    }
    (out / "split.json").write_text(plain(found["split"]))
    figures = {}
    for name, trainer in train.TRAINERS.items():
        lesson = trainer(split.of_side(sensors, split.TRAIN))
        say(f"{name}: {lesson.facts['chosen']}")
        found["models"][name] = lesson.facts
        if not judged:
            continue
        # Its metrics are known only when it has been judged, and judged is what it says.
        engine = Engine(write(lesson.trained, {"data": "none yet"}, digests, out), penstock)
        result, figures[name] = judge.JUDGES[name](lesson, engine, sensors)
        write(lesson.trained, judge.in_bundle(name, result), digests, out)
        found["models"][name] |= result
        found["agreement"][name] = vars(engine.agreement)
        content = (out / f"{name}.psm").read_bytes()
        found["bundles_sha256"][name] = hashlib.sha256(content).hexdigest()
        say(f"{name}: judged; beside scikit-learn {found['agreement'][name]}")
        if not engine.agreement.exact:
            raise SystemExit(f"{name}: the engine and scikit-learn do not say the same")
    if judged:
        report.write(found, figures, out)
    del found["split"]  # has its own file
    (out / "metrics.json").write_text(plain(found))
    say(f"{out / ('report.md' if judged else 'metrics.json')} says what came of it")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the public sets; else what is shipped")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "models" / "sensors")
    parser.add_argument("--penstock", type=Path, help="the program whose engine scores")
    parser.add_argument(
        "--train-only",
        action="store_true",
        help="chooses by cross-validation; no test row is judged",
    )
    args = parser.parse_args()
    if args.data and not any((args.data / name).is_dir() for name in data.LOADERS):
        parser.error(f"--data: {args.data} has none of {', '.join(data.LOADERS)}")
    run(args.data or SHIPPED, args.out, args.penstock, not args.train_only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
