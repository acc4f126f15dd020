"""penstock-model: converts, shows and scores model bundles (docs/bundle.md)."""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from penstock_model import bundle, expression, layout
from penstock_model.model import NO_LEAF, Bundle, BundleError, Kind, Missing, Rows, Task
from penstock_model.score import NO_CLASS, Scores, score

PICKLE = "Loading MODEL runs the code that it holds: load only what you or those you trust wrote."

CONVERT = f"""Converts a fitted scikit-learn estimator or pipeline. {PICKLE}

SCHEMA.json is an object: name, version, inputs (a list of expressions, in the order of the model's
columns), metrics (an object; names its "data"), provenance (an object; names "recipe" and
"data_sha256"); and, where they apply, windows (slides of the sizes in inputs, as {{"5m": "1m"}}),
classes (labels), unit, threshold, missing ("refused" or "branch"), rows ("readings" or "windows").
ROWS.csv holds the golden rows: a line of input expressions, then values; empty or nan = missing."""

# Key: its type, and whether it must be there.
SCHEMA = {
    "name": (str, True),
    "version": (int, True),
    "inputs": (list, True),
    "metrics": (dict, True),
    "provenance": (dict, True),
    "windows": (dict, False),
    "classes": (list, False),
    "unit": (str, False),
    "threshold": ((int, float), False),
    "missing": (str, False),
    "rows": (str, False),
}


class Refused(Exception):
    """What ends the program with status 1; its text goes to stderr."""


# --- files --------------------------------------------------------------------------------------


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise Refused(f"{path}: {e.strerror}") from None


def _load(path: str) -> tuple[bytes, Bundle]:
    data = _read(path)
    try:
        return data, bundle.read(data)
    except BundleError as e:
        raise Refused(f"{path}: {e}") from None


def _value(cell: str, where: str) -> float:
    try:
        return float(cell) if cell.strip() else float("nan")
    except ValueError:
        raise Refused(f"{where}: {cell!r} is no number") from None


def _name(cell: str) -> str:
    """A column that is no input may be called anything."""
    try:
        return expression.canonical(cell)
    except expression.ExpressionError:
        return cell


def _rows(path: str, inputs: Sequence[str]) -> np.ndarray:
    """float32 [n, inputs]; columns are found by their names, others are passed over."""
    try:
        lines = list(csv.reader(_read(path).decode("utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as e:
        raise Refused(f"{path}: {e}") from None
    header = [_name(cell) for cell in lines[0]] if lines else []
    if missing := [name for name in inputs if name not in header]:
        raise Refused(f"{path}: no column {missing[0]}")
    columns = [header.index(name) for name in inputs]
    found = np.empty((len(lines) - 1, len(inputs)), dtype=np.float64)
    for number, line in enumerate(lines[1:]):
        where = f"{path}:{number + 2}"
        if len(line) != len(header):
            raise Refused(f"{where}: {len(line)} cells, {len(header)} columns")
        found[number] = [_value(line[c], where) for c in columns]
    with np.errstate(over="ignore"):
        return found.astype(np.float32)


def _check_schema(found: dict, path: str) -> None:
    if unknown := sorted(set(found) - set(SCHEMA)):
        raise Refused(f"{path}: unknown key {unknown[0]}")
    for key, (kind, needed) in SCHEMA.items():
        if key not in found:
            if needed:
                raise Refused(f"{path}: {key} is missing")
        elif not isinstance(found[key], kind) or isinstance(found[key], bool):
            raise Refused(f"{path}: {key} has the wrong type")
    texts = [*found["inputs"], *found.get("windows", {}).values()]
    if not all(isinstance(text, str) for text in texts):
        raise Refused(f"{path}: inputs and windows hold texts")


def _schema(path: str) -> dict:
    try:
        found = json.loads(_read(path))
    except (ValueError, RecursionError) as e:
        raise Refused(f"{path}: no JSON: {e}") from None
    if not isinstance(found, dict):
        raise Refused(f"{path}: no JSON object")
    _check_schema(found, path)
    return found


# --- verbs --------------------------------------------------------------------------------------


def _unpickle(path: str) -> object:
    import joblib

    try:
        return joblib.load(path)
    except Exception as e:  # whatever the code in it raises
        raise Refused(f"{path}: {type(e).__name__}: {e}") from None


def _convert(args: argparse.Namespace) -> None:
    try:
        from penstock_model.convert import ConvertError, convert
    except ImportError as e:
        raise Refused(f"{e}: convert needs scikit-learn, pip install 'penstock[model]'") from None
    schema = _schema(args.schema)
    try:
        inputs = [expression.canonical(text) for text in schema.pop("inputs")]
        golden = _rows(args.golden, inputs)
        made = convert(_unpickle(args.model), inputs, golden_rows=golden, **schema)
    except (ConvertError, expression.ExpressionError) as e:
        raise Refused(f"{args.model}: {e}") from None
    try:
        Path(args.out).write_bytes(bundle.write(made))
    except OSError as e:
        raise Refused(f"{args.out}: {e.strerror}") from None


def _input_facts(b: Bundle) -> list[dict]:
    return [
        {
            "expression": x.expression,
            "slide": expression.duration_text(x.slide_ns) if x.slide_ns else None,
            "missing": Missing(x.missing).name.lower(),
            "imputed": x.imputed if x.missing == Missing.IMPUTED else None,
            "thresholds": len(b.bins[i]) if b.trees else 0,
        }
        for i, x in enumerate(b.inputs)
    ]


def _facts(data: bytes, b: Bundle) -> dict:
    sections = layout.entries(data)
    return {
        "name": b.name,
        "version": b.version,
        "kind": Kind(b.kind).name.lower(),
        "task": Task(b.task).name.lower(),
        "rows": Rows(b.rows).name.lower(),
        "outputs": b.outputs,
        "classes": list(b.classes),
        "unit": b.unit,
        "threshold": b.threshold if b.task == Task.BINARY else None,
        "trees": b.tree_count,
        "nodes": b.node_count,
        "leaves": b.leaf_count,
        "golden_rows": len(b.golden.input),
        "inputs": _input_facts(b),
        "metrics": b.metrics,
        "provenance": b.provenance,
        "bytes": len(data),
        "sha256": layout.sha256(data).hex(),
        "sections": {
            e.section.name.lower(): {"bytes": e.bytes, "sha256": e.sha256.hex()} for e in sections
        },
    }


def _input_line(x: dict) -> str:
    parts = [f"  {x['expression']}: missing {x['missing']}"]
    parts += [f"{key} {x[key]}" for key in ("imputed", "slide") if x[key] is not None]
    return ", ".join((*parts, f"{x['thresholds']} thresholds"))


def _lines(facts: dict) -> list[str]:
    """For people: a fact a line, what is nested indented, what does not apply left out."""
    found = []
    for key, value in facts.items():
        if value is None or value in ("", [], {}):
            continue
        if isinstance(value, dict):
            found += [f"{key}:", *(f"  {line}" for line in _lines(value))]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            found.append(f"{key}: {text}")
    return found


def _inspect(args: argparse.Namespace) -> None:
    facts = _facts(*_load(args.file))
    if args.json:
        print(json.dumps(facts, ensure_ascii=False, indent=2))
        return
    inputs = [_input_line(x) for x in facts.pop("inputs")]
    print("\n".join((*_lines(facts), "inputs:", *inputs)))


def _score_header(b: Bundle) -> list[str]:
    trees = [f"leaf{n}" for n in range(b.tree_count)]
    if b.task == Task.REGRESSION:
        return ["value", *trees]
    each = [f"probability({c})" for c in b.classes] if b.task == Task.MULTICLASS else []
    return ["probability", *each, "class", *trees]


def _score_line(b: Bundle, found: Scores, origins: np.ndarray, row: int) -> list[object]:
    """A row without a score is empty."""
    if np.isnan(found.out[row, 0]):
        return [""] * len(_score_header(b))
    out = found.out[row].tolist()
    leaves = origins[row].tolist()
    if b.task == Task.REGRESSION:
        return [*out, *leaves]
    label = b.classes[found.label[row]] if found.label[row] != NO_CLASS else ""
    each = out if b.task == Task.MULTICLASS else []
    return [found.probability[row], *each, label, *leaves]


def _origins(b: Bundle, leaf: np.ndarray) -> np.ndarray:
    """The library's numbers of the leaves, -1 where there are none."""
    if not b.trees:
        return leaf
    there = leaf != NO_LEAF
    node = np.where(there, b.trees.first[:-1] + leaf.astype(np.int64), 0)
    number = b.trees.leaf[node]
    return np.where(there, b.trees.origin[np.where(there, number, 0)].astype(np.int64), -1)


def _score(args: argparse.Namespace) -> None:
    _, b = _load(args.file)
    found = score(b, _rows(args.rows, [i.expression for i in b.inputs]))
    origins = _origins(b, found.leaf)
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(_score_header(b))
    out.writerows(_score_line(b, found, origins, row) for row in range(len(found.out)))


# --- the program --------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="penstock-model",
        description="Converts, shows and scores model bundles.",
        epilog="Exit status: 0 done, 1 refused (the reason is on stderr), 2 wrong usage.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    raw = argparse.RawDescriptionHelpFormatter
    p = verbs.add_parser(
        "convert",
        help="a joblib file of scikit-learn to a bundle; runs code in it",
        description=CONVERT,
        formatter_class=raw,
    )
    p.add_argument("model", metavar="MODEL.joblib")
    p.add_argument("--schema", required=True, metavar="SCHEMA.json")
    p.add_argument("--golden", required=True, metavar="ROWS.csv")
    p.add_argument("--out", required=True, metavar="FILE")
    p.set_defaults(run=_convert)
    p = verbs.add_parser(
        "inspect",
        help="what a bundle is and where it comes from",
        description="Checks a bundle whole, golden rows included, and shows what it holds.",
    )
    p.add_argument("file", metavar="FILE")
    p.add_argument("--json", action="store_true", help="as a JSON object")
    p.set_defaults(run=_inspect)
    p = verbs.add_parser(
        "score",
        help="rows of a CSV file through a bundle",
        description="Writes CSV: the outputs, the class, and of each tree the leaf by the "
        "library's number. A row without a score is empty. Columns of ROWS.csv are found by the "
        "inputs' names; empty or nan = missing.",
    )
    p.add_argument("file", metavar="FILE")
    p.add_argument("rows", metavar="ROWS.csv")
    p.set_defaults(run=_score)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
    except (Refused, BundleError) as e:
        print(f"penstock-model: {e}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
