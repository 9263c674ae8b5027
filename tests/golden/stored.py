"""Golden files beside this module: reading, writing, and saying in words what differs."""

import json
import math
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def read(kind: str) -> Any:
    """The golden record of a kind."""
    return json.loads((HERE / f"{kind}.json").read_text())


def write(kind: str, record: Any) -> Path:
    """Replace the golden record of a kind: indented, ten plain values a line."""
    path = HERE / f"{kind}.json"
    path.write_text(_text(record, "") + "\n")
    return path


def differences(golden: Any, now: Any, *, rtol: float, atol: float, at: str = "") -> list[str]:
    """Where `now` lacks something of `golden` or says something else, as lines to read.

    Numbers with a fraction may differ by `atol + rtol * |golden|`; all else must be equal. A key
    that is new is no difference: records grow.
    """
    tolerance = {"rtol": rtol, "atol": atol}
    if isinstance(golden, dict) and isinstance(now, dict):
        out = [f"{at}/{key}: is gone" for key in golden if key not in now]
        for key in golden.keys() & now.keys():
            out += differences(golden[key], now[key], at=f"{at}/{key}", **tolerance)
        return sorted(out)
    if isinstance(golden, list) and isinstance(now, list):
        if len(golden) != len(now):
            return [f"{at}: {len(now)} entries, was {len(golden)}"]
        pairs = enumerate(zip(golden, now, strict=True))
        return [
            line
            for index, (old, new) in pairs
            for line in differences(old, new, at=f"{at}/{index}", **tolerance)
        ]
    if isinstance(golden, float) and isinstance(now, int | float) and not isinstance(now, bool):
        same = math.isclose(golden, now, rel_tol=0.0, abs_tol=atol + rtol * abs(golden))
        return [] if same else [f"{at}: {now}, was {golden}"]
    return [] if golden == now else [f"{at}: {now!r}, was {golden!r}"]


def _text(value: Any, indent: str) -> str:
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not isinstance(value, dict | list) or len(flat) + len(indent) <= 100:
        return flat
    inner = indent + " "
    if isinstance(value, dict):
        lines = [f"{inner}{json.dumps(key)}: {_text(each, inner)}" for key, each in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if all(not isinstance(each, dict | list) for each in value):
        rows = [value[begin : begin + 10] for begin in range(0, len(value), 10)]
        lines = [inner + json.dumps(row, ensure_ascii=False)[1:-1] for row in rows]
    else:
        lines = [inner + _text(each, inner) for each in value]
    return "[\n" + ",\n".join(lines) + f"\n{indent}]"
