"""Each rule finds what it is for and leaves alone what is right."""

from collections.abc import Callable
from pathlib import Path

import lint
import pytest
import rules
from rules import Finding, Tree

Check = Callable[[Tree], list[Finding]]


def tree(root: Path, files: dict[str, str]) -> Tree:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(root)


HEADERS = {
    "dataplane/core/batch.h": "#pragma once\n",
    "dataplane/decode/wire.h": "#pragma once\n",
    "control/config/config.h": "#pragma once\n",
    "firmware-sim/device.h": "#pragma once\n",
    "perf/clock.h": "#pragma once\n",
    "models/format.h": "#pragma once\n",
}

# path, include, whether it may
INCLUDES = [
    ("control/daemon/main.c", '"dataplane/core/batch.h"', True),
    ("control/daemon/main.c", '"firmware-sim/device.h"', False),
    ("dataplane/core/batch.c", '"models/format.h"', True),
    ("dataplane/core/batch.c", '"control/config/config.h"', False),
    ("dataplane/core/batch.c", '"perf/clock.h"', False),
    ("models/load.c", '"dataplane/core/batch.h"', False),
    ("models/bundle/load.c", "<openssl/evp.h>", False),
    ("models/bundle/verify.c", "<openssl/evp.h>", True),
    ("firmware-sim/device.c", '"dataplane/decode/wire.h"', True),
    ("firmware-sim/device.c", '"dataplane/core/batch.h"', False),
    ("perf/bench.c", '"firmware-sim/device.h"', True),
    ("perf/bench.c", '"control/config/config.h"', False),
    ("tests/unit/test_config.c", '"control/config/config.h"', True),
    ("dataplane/core/ring.c", '"batch.h"', False),
    ("dataplane/core/ring.c", '"core/batch.h"', False),
    ("dataplane/core/ring.c", '"dataplane/core/../core/batch.h"', False),
    ("dataplane/core/ring.c", '"dataplane/core/missing.h"', False),
    ("dataplane/core/ring.c", "<stdint.h>", True),
    ("dataplane/core/ring.c", "<sys/uio.h>", True),
    ("dataplane/core/ring.c", "<xxhash.h>", True),
    ("dataplane/core/ring.c", "<liburing.h>", False),
    ("dataplane/rx/rx_uring.c", "<liburing.h>", True),
    ("dataplane/core/ring.c", "<librdkafka/rdkafka.h>", False),
    ("dataplane/egress/kafka.c", "<librdkafka/rdkafka.h>", True),
    ("dataplane/decode/json.cc", "<simdjson.h>", True),
    ("dataplane/decode/json.cc", "<string_view>", True),
    ("dataplane/decode/binary.c", "<simdjson.h>", False),
    ("dataplane/core/ring.c", "<libfyaml.h>", False),
    ("control/config/yaml.c", "<libfyaml.h>", True),
    ("firmware-sim/send.c", "<curl/curl.h>", False),
    ("control/api/api.c", "<criterion/criterion.h>", False),
    ("tests/unit/test_ring.c", "<criterion/criterion.h>", True),
    ("control/api/api.c", "<boost/any.hpp>", False),
]


@pytest.mark.parametrize(("path", "name", "allowed"), INCLUDES)
def test_who_may_include_whom(tmp_path: Path, path: str, name: str, allowed: bool) -> None:
    found = rules.includes(tree(tmp_path, {**HEADERS, path: f"#include {name}\n"}))
    assert [(f.path, f.line) for f in found] == ([] if allowed else [(path, 1)])


# check, files that keep the rule, files that violate it
PAIRS: list[tuple[Check, dict[str, str], dict[str, str]]] = [
    (
        rules.own_header,
        {"control/a.h": "", "control/a.c": '/* a */\n#include "control/a.h"\n#include <stdio.h>\n'},
        {"control/a.h": "", "control/a.c": '#include <stdio.h>\n#include "control/a.h"\n'},
    ),
    (rules.pragma_once, {"perf/a.h": "/* a */\n#pragma once\n"}, {"perf/a.h": "#ifndef A\n"}),
    (
        rules.machine_paths,
        {"docs/a.md": "see /var/lib/penstock and docs/work/a\n"},
        {"docs/a.md": "see " + "/ho" + "me/somebody/penstock\n"},
    ),
    (
        rules.machine_paths,
        {"perf/run.py": "path = tempfile.mkdtemp()\n"},
        {"perf/run.py": "path = '/t" + "mp/run'\n"},
    ),
    (rules.unfinished, {"perf/a.c": "/* all done */\n"}, {"perf/a.c": "/* TO" + "DO: more */\n"}),
    (
        rules.readmes,
        {"README.md": "", "perf/README.md": "", "perf/a.c": "", "tests/fuzz/corpus/json/1": ""}
        | {"tests/README.md": "", "tests/fuzz/README.md": "", "tests/fuzz/corpus/README.md": ""},
        {"README.md": "", "perf/a.c": ""},
    ),
    (
        rules.dependencies,
        {
            "dev": "PACKAGES_BUILD=(gcc)\n",
            "meson.build": "d = dependency('libxxhash')\n",
            "tests/requirements.txt": "pytest==8.3.4\n",
            "docs/dependencies.md": "| C | `gcc`, `meson:libxxhash` | x |\n| | `pip:pytest` | |\n",
        },
        {"dev": "PACKAGES_BUILD=(gcc)\n", "docs/dependencies.md": ""},
    ),
    (
        rules.dependencies,
        {"dev": "", "perf/go.mod": "require a.org/b/c v1.2.3\n", "perf/README.md": ""}
        | {"docs/dependencies.md": "| a | `go:a.org/b/c` | why |\n"},
        {"dev": "", "perf/go.mod": "require a.org/b/c v1.2.3\n", "docs/dependencies.md": ""},
    ),
    (
        rules.dependencies,
        {"dev": "PACKAGES_TEST=(\n    clang\n)\n", "docs/dependencies.md": "| a | `clang` | b |\n"},
        {"dev": "", "docs/dependencies.md": "| a | `clang` | b |\n"},
    ),
    (
        lint.shellcheck,
        {"dev": "#!/usr/bin/env bash\necho ok\n"},
        {"dev": "#!/usr/bin/env bash\nrm $1/*\n"},
    ),
    (lint.ruff, {"perf/a.py": "import os\n\nos.abort()\n"}, {"perf/a.py": "import os\n"}),
    (
        lint.clang_format,
        {".clang-format": "BasedOnStyle: LLVM\n", "perf/a.c": "int a;\n"},
        {".clang-format": "BasedOnStyle: LLVM\n", "perf/a.c": "int  a ;\n"},
    ),
]


@pytest.mark.parametrize(("check", "right", "wrong"), PAIRS)
def test_rule_tells_right_from_wrong(
    tmp_path: Path, check: Check, right: dict[str, str], wrong: dict[str, str]
) -> None:
    assert check(tree(tmp_path / "right", right)) == []
    assert check(tree(tmp_path / "wrong", wrong)) != []


def test_builds_and_caches_are_left_alone(tmp_path: Path) -> None:
    files = {"build-asan/a.h": "", ".venv/b.h": "", "build/c.h": "", "perf/d.h": ""}
    assert [str(p) for p in tree(tmp_path, files).files] == ["perf/d.h"]


def test_large_functions_are_noted(tmp_path: Path) -> None:
    body = "\tx();\n" * 80
    wide = "int wide(int a, int b, int c,\n\tint d, int (*e)(int, int), int f)\n{\n}\n"
    small = "int small(int a, int (*b)(int, int, int, int, int, int))\n{\n}\n"
    found = rules.sizes(
        tree(tmp_path, {"perf/a.c": f"static void long_one(void)\n{{\n{body}}}\n\n{wide}\n{small}"})
    )
    assert [f.text for f in found] == ["long_one: 82 lines", "wide: 6 parameters"]


def test_a_violation_is_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were it not, `./dev test` would pass with broken rules."""
    tree(tmp_path / "tree", {"perf/a.h": ""})
    report = tmp_path / "lint.xml"
    monkeypatch.setattr("sys.argv", ["lint.py", "--junit", str(report), str(tmp_path / "tree")])
    assert lint.main() == 1
    assert 'name="pragma-once"><failure' in report.read_text()
