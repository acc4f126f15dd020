"""penstock model: bundles without a daemon. Their bytes are read here from the page, once more."""

import csv
import io
import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

BUNDLES = sorted((Path(__file__).parent.parent / "fuzz" / "corpus" / "bundle").glob("*.psm"))
NONE = 0xFFFFFFFF

Run = Callable[..., subprocess.CompletedProcess[str]]


class Bundle:
    """What a test needs of a bundle: its inputs, its golden rows, the library's leaves."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        (count,) = struct.unpack_from("<I", data, 12)
        self.sections = {}
        for i in range(count):
            kind, _, offset, size = struct.unpack_from("<IIQQ", data, 64 + 64 * i)
            self.sections[kind] = data[offset : offset + size]
        model = self.sections[1]
        self.kind, self.task = model[36], model[37]
        inputs, outputs, trees, nodes, leaves, rows = struct.unpack_from("<6I", model, 40)
        self.inputs = [
            self.sections[2][128 * i : 128 * i + 96].rstrip(b"\0").decode() for i in range(inputs)
        ]
        golden = self.sections[9]
        at, size = 4 * rows * inputs, 4 * rows * trees
        self.rows = np.frombuffer(golden[:at], "<f4").reshape(rows, inputs)
        self.leaves = np.frombuffer(golden[at : at + size], "<u4").reshape(rows, trees)
        self.outputs = np.frombuffer(golden[at + size :], "<f8").reshape(rows, outputs)
        self.labels = []
        if self.task != 1:
            first, text = 24 + 8 * outputs, self.sections[7]
            self.labels = [
                text[i : i + 32].rstrip(b"\0").decode() for i in range(first, len(text), 32)
            ]
        if trees:
            self.first = struct.unpack_from(f"<{trees + 1}I", self.sections[4])
            numbers = np.frombuffer(self.sections[5], "<u4", nodes + leaves)
            self.leaf, self.origin = numbers[:nodes], numbers[nodes:]

    def origins(self, row: int) -> list[int | None]:
        """Of the leaves of a golden row, by the library's numbers."""
        at = [self.first[t] + int(n) for t, n in enumerate(self.leaves[row]) if n != NONE]
        return [int(self.origin[self.leaf[n]]) for n in at] or [None] * len(self.leaves[row])

    def as_csv(self, extra: bool = False) -> str:
        """The golden rows, the columns in reverse and others among them."""
        out = io.StringIO()
        writer = csv.writer(out)
        names = ["time", *reversed(self.inputs)] if extra else self.inputs
        writer.writerow(names)
        for row in self.rows:
            cells = ["" if np.isnan(v) else repr(float(v)) for v in row]
            writer.writerow(["noon", *reversed(cells)] if extra else cells)
        return out.getvalue()


@pytest.fixture
def penstock(build_dir: Path, tmp_path: Path) -> Run:
    def run(*args: object) -> subprocess.CompletedProcess[str]:
        command = [str(build_dir / "control" / "penstock"), *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)

    return run


def class_of(bundle: Bundle, outputs: np.ndarray) -> str:
    if bundle.task == 1:
        return ""
    if bundle.task == 3:
        return bundle.labels[int(np.argmax(outputs))]
    (threshold,) = struct.unpack_from("<d", bundle.sections[1], 64)
    return bundle.labels[int(outputs[0] > threshold)]


def test_there_are_bundles_of_every_kind() -> None:
    found = {(b.kind, b.task) for b in map(Bundle, BUNDLES)}
    assert {kind for kind, _ in found} == {1, 2, 3}
    assert {task for _, task in found} == {1, 2, 3}


@pytest.mark.parametrize("path", BUNDLES, ids=lambda p: p.stem)
@pytest.mark.parametrize("extra", [False, True])
def test_golden_rows_come_out(penstock: Run, path: Path, tmp_path: Path, extra: bool) -> None:
    bundle = Bundle(path)
    rows = tmp_path / "rows.csv"
    rows.write_text(bundle.as_csv(extra))
    shown = penstock("model", "score", path, rows)
    assert shown.returncode == 0, shown.stderr
    lines = list(csv.DictReader(io.StringIO(shown.stdout)))
    told = penstock("model", "score", path, rows, "--json")
    objects = [json.loads(line) for line in told.stdout.splitlines()]
    assert len(lines) == len(objects) == len(bundle.rows)
    for i, (line, told_row) in enumerate(zip(lines, objects, strict=True)):
        want = bundle.outputs[i]
        leaves = bundle.origins(i) if len(bundle.leaves[i]) else []
        in_csv = [v for k, v in line.items() if k.startswith("leaf_")]
        assert in_csv == ["" if n is None else str(n) for n in leaves]
        assert told_row.get("leaves", []) == leaves
        if np.isnan(want).any():
            assert line["score"] == line["class"] == "" and told_row["score"] is None
            assert told_row["outputs"] == [None] * len(want)
            continue
        np.testing.assert_allclose(told_row["outputs"], want, rtol=0, atol=1e-12)
        assert float(line["score"]) == told_row["score"] == max(told_row["outputs"])
        assert line["class"] == told_row.get("class", "") == class_of(bundle, want)


@pytest.mark.parametrize("path", BUNDLES, ids=lambda p: p.stem)
def test_verify_says_what_it_is(penstock: Run, path: Path) -> None:
    bundle = Bundle(path)
    done = penstock("model", "verify", path, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is True and told["name"] == "built"
    assert told["kind"] == ["", "forest", "boosted", "linear"][bundle.kind]
    assert [i["expression"] for i in told["inputs"]] == bundle.inputs
    assert told["golden"]["rows"] == len(bundle.rows)
    engines = ["plain", "linear"] if bundle.kind == 3 else ["plain", "trees", "rows"]
    assert told["golden"]["engines"] == engines
    assert [s["bytes"] for s in told["sections"]] == [len(s) for s in bundle.sections.values()]
    assert told["metrics"] == json.loads(bundle.sections[8])
    shown = penstock("model", "verify", path)
    assert shown.returncode == 0
    for word in (told["sha256"], "built version 7", bundle.inputs[0], "golden"):
        assert word in shown.stdout


def test_what_is_refused(penstock: Run, tmp_path: Path) -> None:
    good = BUNDLES[0].read_bytes()
    bad = tmp_path / "bad.psm"
    bad.write_bytes(good[:-1] + b"\1")
    done = penstock("model", "verify", bad)
    assert done.returncode == 1 and "bad.psm: provenance: the gap" in done.stderr
    done = penstock("model", "verify", bad, "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["ok"] is False
    assert "provenance: the gap" in json.loads(done.stdout)["error"]
    assert penstock("model", "score", bad, bad).returncode == 1
    assert penstock("model", "verify", tmp_path / "none.psm").returncode == 5
    assert penstock("model", "verify", tmp_path).returncode == 5
    assert penstock("model", "score", BUNDLES[0], tmp_path / "none.csv").returncode == 5


def test_rows_with_errors_print_nothing(penstock: Run, tmp_path: Path) -> None:
    text = Bundle(BUNDLES[0]).as_csv()
    rows = tmp_path / "rows.csv"
    rows.write_text(text + ",".join(["warm"] * text.split("\r\n")[1].count(",")) + ",1\r\n")
    done = penstock("model", "score", BUNDLES[0], rows)
    line = text.count("\n") + 1
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == f'penstock: {rows}:{line}:1: "warm" is not a number\n'
    rows.write_text("x\n1\n")
    done = penstock("model", "score", BUNDLES[0], rows)
    assert done.returncode == 2 and "rows.csv:1:1: no column for the input" in done.stderr


def test_usage(penstock: Run) -> None:
    for args, said in (
        (["model"], "usage: penstock model score"),
        (["model", "train"], "no such subcommand: train"),
        (["model", "score"], "an argument is missing: BUNDLE ROWS"),
        (["model", "score", "a"], "an argument is missing: ROWS"),
        (["model", "score", "a", "b", "c"], "too many arguments: c"),
        (["model", "verify", "a", "b"], "too many arguments: b"),
    ):
        done = penstock(*args)
        assert done.returncode == 2 and said in done.stderr, args
    for verb in ("score", "verify"):
        assert penstock("model", verb, "--help").returncode == 0
