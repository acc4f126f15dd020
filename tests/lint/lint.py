#!/usr/bin/env python3
"""The rules of the folders, and the linters of each language: ./dev lint.

  lint.py [--junit FILE] [ROOT]

Prints `path:line: rule: what is wrong` for each violation and `path:line: note: ...` for what is
only large. Exit status 1 when a rule is violated.
"""

import argparse
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import rules  # noqa: E402
from rules import Finding, Tree  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent


def run_tool(name: str, command: list[str], root: Path) -> list[Finding]:
    """One finding with the tool's own output when it is not content; a missing tool is one too."""
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    except FileNotFoundError:
        return [Finding(name, 0, f"{command[0]} is missing: ./dev setup")]
    text = (done.stdout + done.stderr).strip()
    return [Finding(name, 0, text)] if done.returncode != 0 else []


def tool(name: str) -> str:
    """Of the virtual environment this runs in, so that all machines use the pinned version."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def clang_format(tree: Tree) -> list[Finding]:
    """One finding a file: the tool itself names every place twice."""
    paths = [str(p) for p in tree.sources]
    if not paths:
        return []
    found = run_tool("format", [tool("clang-format"), "--dry-run", "-Werror", *paths], tree.root)
    first: dict[str, int] = {}
    for finding in found:
        for path, line in re.findall(r"^([^\s:]+):(\d+):\d+: error:", finding.text, re.MULTILINE):
            first.setdefault(path, int(line))
    places = [Finding(p, n, "clang-format would write it differently") for p, n in first.items()]
    return places or found


def ruff(tree: Tree) -> list[Finding]:
    check = run_tool("ruff", [tool("ruff"), "check", "-q", "."], tree.root)
    return check + run_tool("ruff", [tool("ruff"), "format", "-q", "--check", "."], tree.root)


def shellcheck(tree: Tree) -> list[Finding]:
    return run_tool("shellcheck", ["shellcheck", *[str(p) for p in tree.scripts]], tree.root)


CHECKS = {
    "includes": rules.includes,
    "own-header": rules.own_header,
    "pragma-once": rules.pragma_once,
    "machine-paths": rules.machine_paths,
    "unfinished": rules.unfinished,
    "readmes": rules.readmes,
    "dependencies": rules.dependencies,
    "clang-format": clang_format,
    "ruff": ruff,
    "shellcheck": shellcheck,
}


def write_junit(path: Path, results: dict[str, list[Finding]]) -> None:
    suite = xml.Element("testsuite", name="lint", tests=str(len(results)))
    for name, findings in results.items():
        case = xml.SubElement(suite, "testcase", name=name)
        if findings:
            text = "\n".join(str(f) for f in findings)
            xml.SubElement(case, "failure", message=f"{len(findings)} violations").text = text
    xml.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--junit", type=Path)
    parser.add_argument("root", type=Path, nargs="?", default=ROOT)
    args = parser.parse_args()
    tree = Tree(args.root)
    start = time.monotonic()
    results = {name: check(tree) for name, check in CHECKS.items()}
    for finding in rules.sizes(tree):
        print(f"{finding.path}:{finding.line}: note: {finding.text}")
    for name, findings in results.items():
        for finding in findings:
            print(f"{finding.path}:{finding.line}: {name}: {finding.text}")
    bad = sum(bool(findings) for findings in results.values())
    seconds = time.monotonic() - start
    print(f"lint: {len(results) - bad} rules kept, {bad} violated, {seconds:.1f} s")
    if args.junit:
        write_junit(args.junit, results)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
