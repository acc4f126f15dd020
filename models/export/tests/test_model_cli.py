"""
penstock-model. What breaks if they fail: scripts that go by its exit status, its CSV or its JSON.
"""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from exact import FACTS, data, targets, with_gaps
from penstock_model import cli, read
from penstock_model.model import Task
from penstock_model.score import score
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

INPUTS = ["temperature", "mean(temperature,5m)", "delta(temperature)", "hour()", "weekday()"]
X = with_gaps(data(200))
SCHEMA = {"name": "demo", "version": 3, "inputs": INPUTS, "windows": {"5m": "1m"}, **FACTS}

MODELS = {
    "binary": (RandomForestClassifier(3, max_depth=3, random_state=0), Task.BINARY),
    "classes": (RandomForestClassifier(3, max_depth=3, random_state=0), Task.MULTICLASS),
    "value": (RandomForestRegressor(3, max_depth=3, random_state=0), Task.REGRESSION),
    "linear": (LogisticRegression(max_iter=2000), Task.BINARY),
}


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as f:
        csv.writer(f).writerows([header, *rows])
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A model, its schema and its golden rows, as a user has them."""
    model = make_pipeline(SimpleImputer(), MODELS["binary"][0]).fit(X, targets(X, Task.BINARY))
    joblib.dump(model, tmp_path / "model.joblib")
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    cells = [["" if np.isnan(v) else float(v) for v in row] for row in X[:20]]
    write_csv(tmp_path / "rows.csv", INPUTS, cells)
    return {p.stem: p for p in tmp_path.iterdir()} | {"out": tmp_path / "demo.psm"}


def convert(files: dict[str, Path]) -> int:
    fixed = ["--schema", str(files["schema"]), "--golden", str(files["rows"])]
    return cli.main(["convert", str(files["model"]), *fixed, "--out", str(files["out"])])


def test_convert_makes_a_bundle(files: dict[str, Path]) -> None:
    assert convert(files) == 0
    b = read(files["out"].read_bytes())
    assert (b.name, b.version, len(b.golden.input)) == ("demo", 3, 20)
    assert np.isnan(b.golden.input).any(), "empty cells are missing values"


@pytest.mark.parametrize("name", MODELS)
def test_score_writes_what_the_library_says(
    name: str, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    estimator, task = MODELS[name]
    model = make_pipeline(SimpleImputer(), estimator).fit(X, targets(X, task))
    joblib.dump(model, files["model"])
    assert convert(files) == 0
    assert cli.main(["score", str(files["out"]), str(files["rows"])]) == 0
    header, *lines = csv.reader(io.StringIO(capsys.readouterr().out))
    b = read(files["out"].read_bytes())
    found = score(b, X[:20])
    assert len(lines) == 20 and len(header) == len(lines[0])
    table = dict(zip(header, zip(*lines, strict=True), strict=True))
    if task == Task.REGRESSION:
        assert (
            header[0] == "value" and [float(v) for v in table["value"]] == found.out[:, 0].tolist()
        )
    else:
        assert [float(v) for v in table["probability"]] == found.probability.tolist()
        assert list(table["class"]) == [str(c) for c in model.predict(X[:20])]
    if task == Task.MULTICLASS:
        assert [float(v) for v in table["probability(2)"]] == found.out[:, 2].tolist()
    if name != "linear":
        leaves = model[-1].apply(model[0].transform(X[:20]))
        np.testing.assert_array_equal(np.array(table["leaf1"], dtype=int), leaves[:, 1])
    else:
        assert not any(h.startswith("leaf") for h in header)


def test_columns_are_found_by_name_and_refused_rows_are_empty(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.nan_to_num(X)
    joblib.dump(MODELS["binary"][0].fit(x, targets(x, Task.BINARY)), files["model"])
    assert convert(files) == 0
    header = ["note", *reversed(INPUTS)]
    header[header.index("mean(temperature,5m)")] = "mean(temperature, 300s)"
    rows = [["first, good", *reversed(x[0].tolist())], ["", 1, 2, 3, "nan", 5]]
    path = write_csv(files["rows"], header, rows)
    assert cli.main(["score", str(files["out"]), str(path)]) == 0
    _, good, bad = csv.reader(io.StringIO(capsys.readouterr().out))
    b = read(files["out"].read_bytes())
    assert float(good[0]) == score(b, x[:1]).out[0, 0]
    assert bad == [""] * len(good)


def test_inspect_tells_all(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(files) == 0
    assert cli.main(["inspect", str(files["out"]), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["version"], facts["kind"], facts["task"]) == (
        "demo",
        3,
        "forest",
        "binary",
    )
    assert facts["trees"] == 3 and facts["bytes"] == files["out"].stat().st_size
    assert [i["expression"] for i in facts["inputs"]] == INPUTS
    assert facts["inputs"][1]["slide"] == "1m" and facts["inputs"][0]["missing"] == "imputed"
    assert set(facts["sections"]) >= {"model", "schema", "golden"}
    assert all(len(s["sha256"]) == 64 for s in facts["sections"].values())
    assert facts["metrics"] == FACTS["metrics"]
    assert cli.main(["inspect", str(files["out"])]) == 0
    text = capsys.readouterr().out
    assert "name: demo\n" in text and "  mean(temperature,5m): missing imputed" in text


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(list(arguments)) == 1
    out, err = capsys.readouterr()
    assert not out and err.startswith("penstock-model: ") and err.count("\n") == 1
    return err


def test_refusals_end_with_1_and_a_line(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out, rows = str(files["out"]), str(files["rows"])
    assert "demo.psm: No such file" in refusal(capsys, "inspect", out)
    assert convert(files) == 0
    assert "no column" in refusal(capsys, "score", out, str(files["schema"]))
    write_csv(files["rows"], INPUTS, [[1, 2, 3, 4, "warm"]])
    assert "rows.csv:2: 'warm' is no number" in refusal(capsys, "score", out, rows)
    write_csv(files["rows"], INPUTS, [[1, 2, 3, 4]])
    assert "rows.csv:2: 4 cells" in refusal(capsys, "score", out, rows)
    spoiled = bytearray(files["out"].read_bytes())
    spoiled[-70] ^= 1
    files["out"].write_bytes(spoiled)
    assert "provenance" in refusal(capsys, "inspect", out)
    assert "provenance" in refusal(capsys, "score", out, rows)


SCHEMAS = [
    ("[]", "no JSON object"),
    ("{", "no JSON"),
    (json.dumps({**SCHEMA, "inputs": None}), "inputs has the wrong type"),
    (json.dumps({**SCHEMA, "inputs": [1]}), "hold texts"),
    (json.dumps({**SCHEMA, "windows": {"5m": 60}}), "hold texts"),
    (json.dumps({**SCHEMA, "version": True}), "version has the wrong type"),
    (json.dumps({**SCHEMA, "golden": 1}), "unknown key golden"),
    (json.dumps({k: v for k, v in SCHEMA.items() if k != "name"}), "name is missing"),
    (json.dumps({**SCHEMA, "threshold": 2}), "threshold"),
    (json.dumps({**SCHEMA, "inputs": INPUTS[:4]}), "takes 5 inputs"),
]


@pytest.mark.parametrize(("schema", "part"), SCHEMAS)
def test_schema_is_checked(
    schema: str, part: str, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files["schema"].write_text(schema)
    assert convert(files) == 1 and not files["out"].exists()
    assert part in capsys.readouterr().err


def test_what_is_no_joblib_file_is_refused(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files["model"].write_bytes(b"not a pickle")
    assert convert(files) == 1 and "model.joblib: " in capsys.readouterr().err
    files["model"].unlink()
    assert convert(files) == 1 and "FileNotFoundError" in capsys.readouterr().err


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    source = Path(cli.__file__).resolve().parent.parent
    return subprocess.run(
        [sys.executable, "-m", "penstock_model.cli", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(source)},
    )


def test_help_and_wrong_usage() -> None:
    assert run("--help").returncode == 0
    told = run("convert", "--help")
    assert told.returncode == 0 and "runs the code" in told.stdout
    for wrong in ([], ["train"], ["inspect"], ["score", "a"], ["convert", "a"], ["inspect", "-x"]):
        done = run(*wrong)
        assert done.returncode == 2 and "usage" in done.stderr
    assert run("inspect", "no-such-file").returncode == 1


def test_reading_and_scoring_need_no_scikit_learn() -> None:
    """A gateway inspects bundles with numpy alone."""
    code = """
import sys
class Gone:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("sklearn", "scipy", "joblib"):
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Gone())
import penstock_model, penstock_model.score, penstock_model.cli
args = ["convert", "m", "--schema", "s", "--golden", "g", "--out", "o"]
sys.exit(penstock_model.cli.main(args))
"""
    source = Path(cli.__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    assert done.returncode == 1 and "pip install" in done.stderr, done.stderr
