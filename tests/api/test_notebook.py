"""The notebook of the documentation runs from top to bottom, at a tiny size."""

import ast
import json
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parents[2]


def executed(path: Path, **sizes: str) -> tuple[list[Any], dict[str, Any]]:
    """What every code cell shows, and the names it leaves; lines that set `sizes` are replaced."""
    names: dict[str, Any] = {}
    shown = []
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        for line, other in sizes.items():
            source = source.replace(line, other)
        *body, last = ast.parse(source).body
        exec(compile(ast.Module(body, []), str(path), "exec"), names)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), str(path), "eval"), names))
        else:
            exec(compile(ast.Module([last], []), str(path), "exec"), names)
            shown.append(None)
    return shown, names


def test_the_notebook_runs_from_top_to_bottom(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    sizes = {"PER_TASK, HORIZON = 4, 30": "PER_TASK, HORIZON = 1, 2"}
    shown, names = executed(ROOT / "docs/rank.ipynb", **sizes)
    assert shown[0] == (1, 2)  # the sizes were replaced
    result = names["result"]
    assert sorted(result.policies["policy"]) == [
        "bc-all/step-2400", "bc-all/step-80", "drifting",
    ]  # fmt: skip
    assert result._repr_html_().startswith("<p") and "NOT A RANKING" in repr(result)
    figure = next(each for each in shown if hasattr(each, "_repr_png_"))
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert sum(isinstance(each, pd.DataFrame) for each in shown) == 2
    assert sorted(shown[-1]) == sorted(result.policies["policy"])
