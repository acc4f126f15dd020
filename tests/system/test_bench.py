"""The bench's harness: it runs, and what it says is right. No test here judges a figure."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "perf"))

import bench  # noqa: E402
import spark  # noqa: E402
from results import Row, Table, aims_table  # noqa: E402
from rounds import Series, Spread, interleave  # noqa: E402
from run import Run  # noqa: E402

FIELDS = {"id", "what", "ratio", "low", "high", "rounds", "rejected", "aim"}


def run_of(name: str, cpu_s: float, rejected: str = "") -> Run:
    return Run(name, 1000, 1000, cpu_s, 1.0, 0.1, 0.1, rejected=rejected)


def test_a_ratio_is_of_one_round_and_of_runs_that_count() -> None:
    rounds = [
        {"a": run_of("a", 1), "b": run_of("b", 2)},
        {"a": run_of("a", 1), "b": run_of("b", 8, "3 lost")},
        {"a": run_of("a", 1), "b": run_of("b", 4)},
    ]
    series = Series(rounds)
    spread = series.compare("a", "b", lambda a, b: a.per_cpu_s / b.per_cpu_s)
    assert spread == Spread(3, 2, 4, 2)
    assert series.rejected("a", "b") == 1


def test_rejected_rounds_are_run_again_within_bounds() -> None:
    tries = iter(["lost", "", "", "lost", "lost", "lost"])
    series = interleave({"a": lambda: run_of("a", 1, next(tries))}, 2, lambda text: None)
    assert [r["a"].rejected for r in series.rounds] == ["lost", "", ""]
    series = interleave({"a": lambda: run_of("a", 1, "lost")}, 2, lambda text: None)
    assert len(series.rounds) == 4 and not series.runs("a")


@pytest.mark.parametrize(
    ("ratio", "aim", "met"),
    [(1.5, ">= 1.5", True), (1.4, ">= 1.5", False), (0.6, "<= 0.7", True), (1, None, None)],
)
def test_aims(ratio: float, aim: str | None, met: bool | None) -> None:
    assert Row("x", "", ratio, ratio, ratio, 1, 0, aim).met is met


def test_only_what_lies_between_the_marks_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{bench.BEGIN}\nold\n{bench.END}\nafter\n")
    monkeypatch.setattr(bench, "README", readme)
    bench.write_readme([Table("New", ["a"], [["1"]])])
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    assert "| 1 |" in text and "old" not in text


def test_rows_and_tables_that_a_run_did_not_make_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"{bench.BEGIN}\n{bench.END}\n")
    monkeypatch.setattr(bench, "README", readme)
    claims = [*spark.BULK_CLAIMS, *spark.STEADY_CLAIMS]
    rows = [Row("packed", "", 1.6, 1.6, 1.6, 1, 0, None)] + spark.rows_of(claims, Series())
    bench.write_readme([aims_table(rows), Table("Others", ["a"], [["1"]])])
    peers = {name: run_of(name, 30) for name in spark.NAMES if name.startswith("spark")}
    found = Series([peers | {name: run_of(name, 1) for name in ("packed-scored", "json-scored")}])
    result = spark.result_of(spark.BULK_CLAIMS, found, "Beside", "")
    for _ in range(2):
        bench.write_readme([aims_table(result.rows), *result.tables])
    text = readme.read_text()
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")] == [
        *("packed", "spark", "spark-json", "spark-map", "spark-map-json"),
        *("spark-steady", "spark-steady-json"),
    ]
    assert text.count("**30.00**") == 4 and text.count("no round counts") == 2
    assert [line for line in text.splitlines() if line.startswith("### ")] == [
        *("### Against the aims", "### Others", "### Beside"),
    ]


def test_a_quick_run_ends_with_its_rows(build_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "perf" / "bench.py"), "--quick", "--rate", "5000"]
    command += ["--only", "packed", "--out", str(tmp_path)]
    env = {**os.environ, "PENSTOCK_BUILD": str(build_dir)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads((tmp_path / "main.json").read_text())
    assert FIELDS <= row.keys() and row["id"] == "packed" and row["aim"] == ">= 1.5"
    assert "lost" not in done.stdout, done.stdout


def test_the_windows_of_spark_are_those_of_all_readings_before() -> None:
    """Its job may not do less than it says: batches of any size give what one look back does."""
    sys.path.append(str(ROOT / "perf" / "peers" / "spark"))
    import scoring

    rng = np.random.default_rng(7)
    time_s = 1.7e9 + np.cumsum(rng.exponential(2, 1000))
    values = rng.normal([20, 40, 2.5, 300], [1, 2, 0.1, 50], (1000, 4))
    panes = scoring.Panes(first_s=time_s[0], last=values[0])
    at = 0
    while at < len(time_s):
        upto = min(len(time_s), at + int(rng.integers(1, 90)))
        panes = scoring.Panes.from_bytes(panes.to_bytes())
        short, long, steps = panes.push(time_s[at:upto], values[at:upto])
        for i in range(at, upto):
            for window, count in ((short, scoring.SHORT), (long, scoring.LONG)):
                pane = time_s[: i + 1] // scoring.PANE_S
                seen = values[: i + 1][pane > pane[-1] - count]
                mean, std, _, _ = window.of(0, values[at:upto, 0])
                assert window.sums[i - at, 0] == len(seen)
                assert np.allclose(window.low[i - at], seen.min(axis=0))
                assert np.allclose(window.high[i - at], seen.max(axis=0))
                assert np.allclose(mean[i - at], seen[:, 0].mean())
                assert np.allclose(std[i - at], seen[:, 0].std(), atol=1e-4)
            assert np.allclose(steps[i - at], values[i] - values[max(i - 1, 0)])
        assert scoring.inputs_of_windows(values[at:upto], short, long, steps).shape == (
            upto - at,
            scoring.INPUTS,
        )
        at = upto
