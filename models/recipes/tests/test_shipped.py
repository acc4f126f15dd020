"""What lies in deploy/models is what the recipe made; the demo judges as the recipe does."""

import hashlib
import json
import sys
from pathlib import Path

import pytest
from penstock_model import bundle
from sensors import faults, inputs, split, status, train
from sensors.bundles import RECIPE

ROOT = Path(__file__).resolve().parent.parent.parent.parent
FOLDER = ROOT / "deploy" / "models" / "sensors"
METRICS = json.loads((FOLDER / "metrics.json").read_text())


@pytest.mark.parametrize("name", train.TRAINERS)
def test_bundle_is_that_of_the_report(name: str) -> None:
    content = (FOLDER / f"{name}.psm").read_bytes()
    assert hashlib.sha256(content).hexdigest() == METRICS["bundles_sha256"][name]
    made, facts = bundle.read(content), METRICS["models"][name]
    assert [i.expression for i in made.inputs] == facts["inputs"]
    assert made.provenance["recipe"] == RECIPE
    agreement = METRICS["agreement"][name]
    assert agreement["rows"] and not agreement["wrong_leaves"] + agreement["wrong_classes"]


def test_status_is_one_of_the_recipe_s_choices() -> None:
    assert METRICS["models"]["status"]["chosen"] in [vars(c) for c in status.CHOICES]


def test_report_has_its_plots() -> None:
    text = (FOLDER / "report.md").read_text()
    for name in train.TRAINERS:
        assert f"({name}.png)" in text and (FOLDER / f"{name}.png").stat().st_size > 10_000


def test_split_is_the_recipe_s() -> None:
    for sensor in json.loads((FOLDER / "split.json").read_text())["sensors"]:
        assert split.side_of(sensor["sensor"]) == sensor["split"]


def test_demo_judges_as_the_recipe_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "deploy" / "demo"), *sys.path])
    import scores

    assert scores.CLASSES == faults.CLASSES
    assert (scores.DEGRADED_FROM, scores.FAULTY_FROM) == (faults.DEGRADED_FROM, faults.FAULTY_FROM)
    assert scores.EVENT_TAIL_S == max(size for size, _ in inputs.WINDOWS_S)
