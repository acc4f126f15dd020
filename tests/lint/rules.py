"""The rules themselves: each takes a Tree and returns what violates it."""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple


class Finding(NamedTuple):
    path: str
    line: int
    text: str


class Tree:
    """The files of a checkout, without builds, caches and hidden folders (but for .ci)."""

    SKIPPED = ("build", "build-*", "__pycache__", ".*", "node_modules", "*.egg-info")

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def _walk(self, folder: Path) -> Iterator[PurePosixPath]:
        for path in sorted(folder.iterdir()):
            name = path.name
            if path.is_dir() and (name == ".ci" or not any(fnmatch(name, s) for s in self.SKIPPED)):
                yield from self._walk(path)
            elif path.is_file():
                yield PurePosixPath(path.relative_to(self.root))

    @cached_property
    def files(self) -> list[PurePosixPath]:
        return list(self._walk(self.root))

    @cached_property
    def sources(self) -> list[PurePosixPath]:
        return [p for p in self.files if p.suffix in (".c", ".h", ".cc")]

    @cached_property
    def scripts(self) -> list[PurePosixPath]:
        return [
            p for p in self.files if self.text(p).startswith(("#!/bin/sh", "#!/usr/bin/env bash"))
        ]

    def text(self, path: PurePosixPath | str) -> str:
        full = self.root / path
        return full.read_bytes().decode("utf-8", "replace") if full.is_file() else ""

    def lines(self, path: PurePosixPath | str) -> list[str]:
        return self.text(path).splitlines()


# --- who may include whom ----------------------------------------------------------------------

# Folder -> what it may include of the others (patterns of paths).
MAY_INCLUDE = {
    "models": [],
    "dataplane": ["models/*"],
    "control": ["dataplane/*", "models/*"],
    "firmware-sim": ["dataplane/decode/wire.h"],
    "perf": ["dataplane/*", "models/*", "firmware-sim/*"],
    "perf/peers": ["dataplane/decode/wire.h", "perf/peers/*", "perf/samples.h"],
    "tests": ["dataplane/*", "models/*", "control/*", "firmware-sim/*", "perf/*"],
}

# External header -> the files that may know it. Tests may include what they test with.
EDGES = {
    "liburing.h": [
        "dataplane/rx/rx_uring*",
        "dataplane/core/sleep.*",
        "dataplane/journal/io*",
        "firmware-sim/*",
        "perf/*",
    ],
    "librdkafka/*": ["dataplane/egress/kafka*", "firmware-sim/*", "perf/*"],
    "simdjson.h": ["dataplane/decode/json.*", "dataplane/egress/json.*"],
    "libfyaml.h": ["control/*"],
    "microhttpd.h": ["control/*"],
    "curl/*": ["control/*"],
    "jansson.h": ["control/*"],
    "openssl/*": ["models/bundle/verify.c"],
    "xxhash.h": ["dataplane/*", "models/*", "control/*", "firmware-sim/*", "perf/*"],
    "criterion/*": [],
}

# libc, POSIX, Linux and the C++ library are open to all.
SYSTEM = set(
    """aio alloca assert complex cpuid ctype dirent dlfcn endian err errno execinfo fcntl fenv float
    fnmatch getopt glob grp ifaddrs immintrin inttypes iso646 langinfo libgen limits linux/* locale
    malloc math mqueue net/* netdb netinet/* nmmintrin poll pthread pwd regex sched search semaphore
    setjmp signal spawn stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn
    string strings sys/* syslog termios tgmath threads time uchar ucontext unistd utime wchar wctype
    x86intrin arpa/* asm/*""".split()
)
SYSTEM_CXX = set(
    """algorithm array atomic bit bitset cassert cctype cerrno cfloat charconv chrono cinttypes
    climits cmath cstddef cstdint cstdio cstdlib cstring deque exception functional initializer_list
    iterator limits list map memory mutex new numeric optional random set stdexcept string
    string_view system_error thread tuple type_traits unordered_map
    unordered_set utility variant vector""".split()
)

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def included(tree: Tree, path: PurePosixPath) -> list[tuple[int, str, str]]:
    """(line, "<" or a quote, name) of each include."""
    found = []
    for number, line in enumerate(tree.lines(path), 1):
        match = INCLUDE.match(line)
        if match:
            found.append((number, match[1], match[2]))
    return found


def matches(name: str, patterns: list[str] | set[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def is_system(name: str) -> bool:
    return name in SYSTEM_CXX or (name.endswith(".h") and matches(name[:-2], SYSTEM))


def quoted_fault(tree: Tree, path: PurePosixPath, name: str) -> str | None:
    top, target = path.parts[0], PurePosixPath(name)
    if (narrow := MAY_INCLUDE.get(str(path.parent))) and str(path.parent) != top:
        return None if matches(name, narrow) else f"{path.parent} may not include {name}"
    if len(target.parts) < 2 or ".." in target.parts or name.startswith("/"):
        return f'"{name}" is no full path from the root'
    if not (tree.root / name).is_file():
        return f'"{name}" does not exist from the root'
    if target.parts[0] != top and not matches(name, MAY_INCLUDE.get(top, [])):
        return f"{top} may not include {name}"
    return None


def external_fault(path: PurePosixPath, name: str) -> str | None:
    if is_system(name):
        return None
    for header, places in EDGES.items():
        if fnmatch(name, header):
            allowed = path.parts[0] == "tests" or matches(str(path), places)
            return (
                None if allowed else f"<{name}> stays at its edge: {', '.join(places) or 'tests/*'}"
            )
    return f"<{name}> is no header that the rules know"


def includes(tree: Tree) -> list[Finding]:
    found = []
    for path in tree.sources:
        for line, kind, name in included(tree, path):
            fault = external_fault(path, name) if kind == "<" else quoted_fault(tree, path, name)
            if fault:
                found.append(Finding(str(path), line, fault))
    return found


def own_header(tree: Tree) -> list[Finding]:
    """foo.c includes its foo.h before all else, which shows that foo.h needs nothing before it."""
    found = []
    for path in tree.sources:
        own = path.with_suffix(".h")
        if path.suffix == ".h" or own not in tree.sources:
            continue
        first = next(iter(included(tree, path)), (1, "", ""))
        if first[2] != str(own):
            found.append(Finding(str(path), first[0], f'the first include is not "{own}"'))
    return found


def pragma_once(tree: Tree) -> list[Finding]:
    headers = [p for p in tree.sources if p.suffix == ".h"]
    return [
        Finding(str(p), 1, "no #pragma once")
        for p in headers
        if "#pragma once" not in tree.lines(p)
    ]


# --- what no file may hold ---------------------------------------------------------------------

# Written so that this file does not hold them itself.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:[h]ome|[r]oot|[w]ork|[U]sers)/[\w.-]+|/[t]mp/[\w.-]+")
TMP = "/" + "tmp/"
UNFINISHED = re.compile(r"\b(?:[T]ODO|[F]IXME|[X]XX)\b")
TEXT = {".c", ".h", ".cc", ".py", ".sh", ".md", ".yaml", ".yml", ".json", ".toml", ".build", ".txt"}


def texts(tree: Tree) -> list[PurePosixPath]:
    plain = [p for p in tree.files if p.suffix in TEXT or p in tree.scripts]
    return [p for p in plain if "corpus" not in p.parts and "data" not in p.parts]


def grep(tree: Tree, pattern: re.Pattern[str], why: str) -> list[Finding]:
    return [
        Finding(str(path), number, f"{match[0]}: {why}")
        for path in texts(tree)
        for number, line in enumerate(tree.lines(path), 1)
        for match in pattern.finditer(line)
    ]


def machine_paths(tree: Tree) -> list[Finding]:
    """Tests in C get no temporary folder as those in Python do, so they may name the common one."""
    found = grep(tree, MACHINE_PATH, "a path of one machine")
    return [f for f in found if not (fnmatch(f.path, "tests/*.c") and f.text.startswith(TMP))]


def unfinished(tree: Tree) -> list[Finding]:
    return grep(tree, UNFINISHED, "do it, or write an issue")


# --- folders explain themselves ----------------------------------------------------------------

NO_README = [
    "tests/fuzz/corpus*",
    "deploy/profiles",
    "models/export/src*",
    "models/export/tests",
    "tests/system/kafka",
    "tests/tsan/criterion",
    ".ci",
]


def readmes(tree: Tree) -> list[Finding]:
    """Each folder with files has a README.md, but for those whose parent's says it all."""
    folders = {p.parent for p in tree.files}
    folders |= {above for f in folders for above in f.parents}
    return [
        Finding(str(folder), 1, "no README.md: what lives here, what it may touch")
        for folder in sorted(folders)
        if not matches(str(folder), NO_README) and folder / "README.md" not in tree.files
    ]


# --- dependencies ------------------------------------------------------------------------------

ARRAY = re.compile(r"^PACKAGES_\w+=\(([^)]*)\)", re.MULTILINE)
MESON = re.compile(r"(?<![\w_])dependency\('([\w.+-]+)'")
PIN = re.compile(r"^([\w.-]+)==", re.MULTILINE)
REQUIRE = re.compile(r"^require ([\w./-]+) v", re.MULTILINE)
ARTIFACT = re.compile(r"<dependency>.*?<artifactId>([\w.-]+)</artifactId>", re.DOTALL)


def named(tree: Tree) -> set[tuple[str, str]]:
    """What docs/dependencies.md names: the marked words of a table's second column, by source."""
    found = set()
    for line in tree.lines("docs/dependencies.md"):
        cells = line.split("|")
        if len(cells) < 4:
            continue
        for word in re.findall(r"`([^`]+)`", cells[2]):
            kind, _, name = word.rpartition(":")
            found.add((kind or "apt", name))
    return found


def used(tree: Tree) -> set[tuple[str, str]]:
    found = set()
    for array in ARRAY.findall(tree.text("dev")):
        found |= {("apt", name) for name in array.split()}
    for path in tree.files:
        if path.name == "meson.build":
            found |= {("meson", name) for name in MESON.findall(tree.text(path))}
        elif path.name == "go.mod":
            found |= {("go", name) for name in REQUIRE.findall(tree.text(path))}
        elif path.name == "requirements.txt":
            found |= {("pip", name) for name in PIN.findall(tree.text(path))}
        elif path.name == "pom.xml":
            found |= {("maven", name) for name in ARTIFACT.findall(tree.text(path))}
    return found


def dependencies(tree: Tree) -> list[Finding]:
    """All that is used is named with its reason; nothing is named that is not used."""
    page, here, there = "docs/dependencies.md", used(tree), named(tree)
    missing = [Finding(page, 1, f"{k}:{n} is used, not named") for k, n in sorted(here - there)]
    return missing + [
        Finding(page, 1, f"{k}:{n} is named, not used") for k, n in sorted(there - here)
    ]


# --- size: a smell, not a law ------------------------------------------------------------------

FUNCTION_LINES, FILE_LINES, PARAMETERS = 70, 500, 5


def functions(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """(first line, lines, head) of each function: its braces stand in the first column."""
    start, head = 0, ""
    for number, line in enumerate(lines, 1):
        if line == "{":
            start, at = number, number - 2
            while at > 0 and lines[at - 1].strip() and lines[at - 1][0] not in "}/# ":
                at -= 1
            head = " ".join(part.strip() for part in lines[at : number - 1])
        elif line == "}" and start:
            yield start, number - start + 1, head
            start = 0


def parameter_count(head: str) -> int:
    """Commas of the outermost brackets of the last parameter list."""
    depth = commas = 0
    for char in head[head.find("(") :]:
        depth += {"(": 1, ")": -1}.get(char, 0)
        commas += char == "," and depth == 1
    return commas + 1


def sizes(tree: Tree) -> list[Finding]:
    found = []
    for path in tree.sources:
        lines = tree.lines(path)
        if len(lines) > FILE_LINES:
            found.append(Finding(str(path), 1, f"{len(lines)} lines"))
        for line, length, head in functions(lines):
            name = head.split("(")[0].split(" ")[-1].lstrip("*")
            if length > FUNCTION_LINES:
                found.append(Finding(str(path), line, f"{name}: {length} lines"))
            if parameter_count(head) > PARAMETERS:
                found.append(
                    Finding(str(path), line, f"{name}: {parameter_count(head)} parameters")
                )
    return found
