"""From fitted estimators to bundle files, and what the bundles say of rows, by either engine."""

import csv
import hashlib
import json
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from penstock_model import bundle
from penstock_model.convert import convert
from penstock_model.features import Features
from penstock_model.model import Bundle
from penstock_model.score import score
from sklearn.pipeline import Pipeline

from .data import CREDITS
from .inputs import stream

VERSION = 1
RECIPE = "models/recipes/sensors"
OUTPUT_TOLERANCE = 1e-12
JUDGED_ON_ONLY = "occupancy"


@dataclass(frozen=True)
class Trained:
    """One model before it is judged. golden: rows that may be passed on."""

    name: str
    inputs: list[str]
    estimator: Pipeline
    golden: NDArray[np.float32]
    classes: tuple[str, ...] = ()
    unit: str = ""
    threshold: float = 0.5
    missing: str | None = None  # as penstock_model.convert takes it


@dataclass(frozen=True)
class Said:
    """out: float64 [rows, outputs]; leaf: the library's node numbers [rows, trees]; label."""

    out: NDArray[np.float64]
    leaf: NDArray[np.int64]
    label: NDArray[np.int64]


@dataclass
class Agreement:
    """How an engine compares with scikit-learn, over all rows that it scored."""

    rows: int = 0
    wrong_leaves: int = 0
    wrong_classes: int = 0
    greatest_difference: float = 0.0

    @property
    def exact(self) -> bool:
        wrong = self.wrong_leaves or self.wrong_classes
        return not wrong and self.greatest_difference <= OUTPUT_TOLERANCE


def provenance(digests: dict[str, str]) -> dict[str, Any]:
    used = {k: v for k, v in digests.items() if not k.startswith(JUDGED_ON_ONLY)}
    whole = hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()
    return {
        "recipe": RECIPE,
        "data_sha256": whole,
        "files_sha256": used,
        "credits": {name: CREDITS[name] for name in sorted({k.partition("/")[0] for k in used})},
        "golden_rows": "of the licensed set wsn-labelled, and made up; of no other set",
    }


def write(trained: Trained, metrics: dict[str, Any], digests: dict[str, str], folder: Path) -> Path:
    made = convert(
        trained.estimator,
        trained.inputs,
        name=trained.name,
        version=VERSION,
        metrics=metrics,
        provenance=provenance(digests),
        golden_rows=trained.golden,
        windows=Features(stream(), trained.inputs).windows,
        classes=trained.classes or None,
        unit=trained.unit,
        threshold=trained.threshold,
        missing=trained.missing,
    )
    path = folder / f"{trained.name}.psm"
    path.write_bytes(bundle.write(made))
    return path


def library_says(trained: Trained, x: NDArray[np.float32]) -> Said:
    """
    scikit-learn itself. In float64, for in float32 a scaler rounds more than the one that is
    folded into a bundle; trees round to float32 by themselves.
    """
    rows = x.astype(np.float64)
    *steps, last = (step for _, step in trained.estimator.steps)
    if not trained.classes:
        out = trained.estimator.predict(rows).reshape(-1, 1)
        label = np.full(len(rows), -1)
    else:
        out = trained.estimator.predict_proba(rows)
        out = out if len(trained.classes) > 2 else out[:, 1:]
        label = out.argmax(axis=1) if out.shape[1] > 1 else out[:, 0] > trained.threshold
    for step in steps:
        rows = step.transform(rows)
    leaf = last.apply(rows).reshape(len(rows), -1) if hasattr(last, "apply") else out[:, :0]
    return Said(out, leaf.astype(np.int64), np.asarray(label).astype(np.int64))


@dataclass
class Engine:
    """Scores rows with a bundle's file: by the C program where it is given, else by Python's."""

    path: Path
    penstock: Path | None
    agreement: Agreement = field(default_factory=Agreement)

    def __post_init__(self) -> None:
        self.bundle: Bundle = bundle.read(self.path.read_bytes())

    def says(self, trained: Trained, x: NDArray[np.float32]) -> Said:
        """What the engine says, compared with the library row by row."""
        said = self._program(x) if self.penstock else self._python(x)
        theirs, a = library_says(trained, x), self.agreement
        a.rows += len(x)
        a.wrong_leaves += int(np.sum(said.leaf != theirs.leaf))
        a.wrong_classes += int(np.sum(said.label != theirs.label))
        difference = np.abs(said.out - theirs.out)
        a.wrong_classes += int(np.sum(np.isnan(said.out) != np.isnan(theirs.out)))
        a.greatest_difference = max(a.greatest_difference, float(np.nanmax(difference, initial=0)))
        return said

    def _python(self, x: NDArray[np.float32]) -> Said:
        found = score(self.bundle, x)
        trees = self.bundle.trees
        leaf = np.empty((len(x), 0), np.int64)
        if trees:
            node = trees.first[:-1].astype(np.int64) + found.leaf
            leaf = trees.origin[trees.leaf[node]].astype(np.int64)
        return Said(found.out, leaf, found.label)

    def _program(self, x: NDArray[np.float32]) -> Said:
        with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="") as file:
            out = csv.writer(file)
            out.writerow([i.expression for i in self.bundle.inputs])
            # nan for missing; nine digits name each float32
            out.writerows([[f"{v:.9g}" for v in row] for row in x.tolist()])
            file.flush()
            command = [str(self.penstock), "model", "score", str(self.path), file.name, "--json"]
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return self._parsed([json.loads(line) for line in text.splitlines()], len(x))

    def _parsed(self, lines: list[dict[str, Any]], rows: int) -> Said:
        if len(lines) != rows:
            raise RuntimeError(f"{rows} rows went in, {len(lines)} came back")
        label = np.full(rows, -1, np.int64)
        if classes := self.bundle.classes:
            label = np.array([classes.index(line["class"]) for line in lines], np.int64)
        leaf = np.array([line.get("leaves", []) for line in lines], np.int64)
        out = np.array([line["outputs"] for line in lines], np.float64)
        return Said(out, leaf.reshape(rows, self.bundle.tree_count), label)
