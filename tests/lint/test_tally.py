"""The last line of `./dev test` says what happened, however a part goes wrong."""

from pathlib import Path

import pytest
import tally

MESON = """<testsuites><testsuite name="penstock">
<testcase name="penstock:unit+threads / ring">{ring}
</testcase><testcase name="penstock:unit / shell"/></testsuite></testsuites>"""
CRITERION = """<testsuites><testsuite name="ring"><testcase name="full" status="PASSED"/>
<testcase name="empty" status="{status}">{inner}</testcase></testsuite></testsuites>"""


def last_line(results: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, int]:
    capsys.readouterr()
    status = tally.main(["sum", str(results)])
    return capsys.readouterr().out.splitlines()[-1], status


def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], rc: int, **files: str) -> tuple:
    results, folder = tmp_path / "results.tsv", tmp_path / "unit"
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name.replace('case_', 'case-test_')}.xml").write_text(text)
    tally.main(["part", str(results), "unit", str(rc), "1", str(folder)])
    return last_line(results, capsys)


def test_cases_count_not_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = CRITERION.format(status="PASSED", inner="")
    line = run(tmp_path, capsys, 0, meson=MESON.format(ring=""), case_ring=good)
    assert line == ("3 passed, 0 failed", 0)


def test_failed_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = CRITERION.format(status="FAILED", inner="<failure/>")
    meson = MESON.format(ring="<failure/>")
    assert run(tmp_path, capsys, 1, meson=meson, case_ring=bad) == ("2 passed, 1 failed", 1)


def test_skipped_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = CRITERION.format(status="SKIPPED", inner="<skipped/>")
    line = run(tmp_path, capsys, 0, meson=MESON.format(ring=""), case_ring=part)
    assert line == ("2 passed, 0 failed, 1 skipped", 0)


def test_leak_at_exit_fails_although_all_cases_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = CRITERION.format(status="PASSED", inner="")
    meson = MESON.format(ring="<failure/>")
    assert run(tmp_path, capsys, 1, meson=meson, case_ring=good) == ("3 passed, 1 failed", 1)


def test_program_that_died_before_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meson = MESON.format(ring="<failure/>")
    assert run(tmp_path, capsys, 1, meson=meson, case_ring="<testsui") == ("1 passed, 1 failed", 1)


def test_part_that_ran_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, capsys, 0) == ("0 passed, 1 failed", 1)


def test_part_that_broke_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, capsys, 2, meson=MESON.format(ring="")) == ("2 passed, 1 failed", 1)


def test_commands_as_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results.tsv"
    tally.main(["case", str(results), "fuzz", "fuzz_json", "0"])
    tally.main(["case", str(results), "fuzz", "fuzz_block", "77"])
    tally.main(["part", str(results), "fuzz", "1", "9", str(tmp_path / "none")])
    assert last_line(results, capsys) == ("1 passed, 1 failed", 1)


def test_nothing_at_all_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert last_line(tmp_path / "results.tsv", capsys)[1] == 1
