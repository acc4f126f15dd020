#!/usr/bin/env python3
"""Counts what `./dev test` ran: one line per case in a results file, summed up at the end.

tally.py part RESULTS NAME RC SECONDS DIR   cases of a part, from the JUnit files below DIR
tally.py case RESULTS PART NAME RC          one case that is a command
tally.py sum RESULTS                        the table, then `N passed, N failed[, N skipped]`
"""

import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    part: str
    name: str
    status: str  # passed, failed or skipped

    def line(self) -> str:
        return "\t".join(field.replace("\t", " ").replace("\n", " ") for field in self) + "\n"


def status_of(case: xml.Element) -> str:
    """Of a JUnit <testcase>, as meson, criterion and pytest write it."""
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def cases_of(part: str, path: Path) -> list[Case]:
    """A file that is no XML, as a program that died while writing leaves it, holds one failure."""
    try:
        root = xml.parse(path).getroot()
    except xml.ParseError:
        return [Case(part, f"{path.name} is not readable", "failed")]
    found = []
    for suite in root.iter("testsuite"):
        for case in suite.findall("testcase"):
            name = f"{suite.get('name')}.{case.get('name')}"
            found.append(Case(part, name, status_of(case)))
    return found


def meson_cases(part: str, folder: Path) -> list[Case]:
    """The cases of each program where it wrote them, else the program as one case.

    meson calls a test "project:suite / name", its program is name or test_name.

    A program that failed although none of its cases did (a leak found at exit) stays a failure.
    """
    found = []
    programs = cases_of(part, folder / "meson.xml")
    for program in programs:
        name = re.split(r"[.] ?|/ ", program.name)[-1]
        paths = [folder / f"case-{name}.xml", folder / f"case-test_{name}.xml"]
        own = [case for path in paths if path.exists() for case in cases_of(part, path)]
        if not own or (program.status == "failed" and all(c.status != "failed" for c in own)):
            found.append(program)
        found += own
    return found


def part_cases(part: str, folder: Path) -> list[Case]:
    """All cases of a part; one that failed as a whole, or ran nothing it should, is a failure."""
    if (folder / "meson.xml").exists():
        found = meson_cases(part, folder)
    else:
        found = [c for path in sorted(folder.glob("*.xml")) for c in cases_of(part, path)]
    if folder.is_dir() and not found:
        found.append(Case(part, "no test ran", "failed"))
    return found


def add(results: Path, cases: list[Case]) -> None:
    with results.open("a", encoding="utf-8") as out:
        out.writelines(case.line() for case in cases)


def read(results: Path) -> list[Case]:
    if not results.exists():
        return []
    lines = results.read_text(encoding="utf-8").splitlines()
    return [Case(*line.split("\t")) for line in lines]


def add_part(results: Path, part: str, rc: int, seconds: int, folder: Path) -> None:
    found = part_cases(part, folder)
    add(results, found)
    mine = [case for case in read(results) if case.part == part]
    if rc != 0 and all(case.status != "failed" for case in mine):
        add(results, [Case(part, f"the part as a whole, exit status {rc}", "failed")])
    elif rc == 0 and not mine:
        add(results, [Case(part, "done", "passed")])
    mine = [case for case in read(results) if case.part == part]
    for case in mine:
        if case.status == "failed":
            print(f"   FAILED {part}: {case.name}")
    print(f"   {part}: {summary(mine)} in {seconds} s")


def summary(cases: list[Case]) -> str:
    count = {s: sum(c.status == s for c in cases) for s in ("passed", "failed", "skipped")}
    text = f"{count['passed']} passed, {count['failed']} failed"
    return text + (f", {count['skipped']} skipped" if count["skipped"] else "")


def main(args: list[str]) -> int:
    verb, results = args[0], Path(args[1])
    if verb == "part":
        add_part(results, args[2], int(args[3]), int(args[4]), Path(args[5]))
    elif verb == "case":
        status = "passed" if int(args[4]) == 0 else "failed"
        add(results, [Case(args[2], args[3], status)])
    else:
        cases = read(results)
        for part in dict.fromkeys(case.part for case in cases):
            print(f"   {part}: {summary([c for c in cases if c.part == part])}")
        for case in cases:
            if case.status == "failed":
                print(f"   FAILED {case.part}: {case.name}")
        print(summary(cases), flush=True)
        return 1 if not cases or any(case.status == "failed" for case in cases) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
