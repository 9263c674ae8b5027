"""Figures and tables of a report as files: readable again, escaped, the same every time."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from worldeval.errors import UserError
from worldeval.report.contents import read_contents
from worldeval.report.exported import check_formats, write_figures, write_tables


def contents(run: Path):
    return read_contents(run, rng=np.random.default_rng(0))


def test_every_figure_is_written_in_every_format(run: Path, tmp_path: Path) -> None:
    tmp_path = tmp_path / "figures"
    written = write_figures(contents(run), tmp_path, ["svg", "pdf", "png"])
    names = {f"{name}.{kind}" for name in ("predicted", "tasks", "heat-map")
             for kind in ("svg", "pdf", "png")}  # fmt: skip
    assert {path.name for path in written} == names == {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "heat-map.svg").read_text().lstrip().startswith("<?xml")
    assert (tmp_path / "predicted.pdf").read_bytes().startswith(b"%PDF")
    again = write_figures(contents(run), tmp_path / "again", ["svg", "pdf"])
    for path in again:
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_csv_holds_numbers_in_full_with_intervals(run: Path, tmp_path: Path) -> None:
    write_tables(contents(run), tmp_path, ["csv"])
    with (tmp_path / "ranking.csv").open() as file:
        first = next(csv.DictReader(file))
    (row, *_) = json.loads((run / "summary.json").read_text())["ranking"]["policies"]
    assert (first["policy"], first["tied group"]) == ("bc-all@2400", row["letters"])
    assert float(first["predicted success"]) == row["value"]
    assert float(first["predicted success low"]) == row["low"]
    assert 0 < float(first["simulated success high"]) <= 1
    with (tmp_path / "tasks.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 10  # five policies on two tasks
    with (tmp_path / "fingerprints.csv").open() as file:
        assert next(csv.DictReader(file))["hash"] == "0123abcd"


def test_latex_and_markdown_are_escaped(run: Path, tmp_path: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary["ranking"]["policies"][0]["policy"] = r"[a]_b & 50% $x$ \input{y} | z"
    (run / "summary.json").write_text(json.dumps(summary))
    write_tables(contents(run), tmp_path, ["tex", "md"])
    tex = (tmp_path / "ranking.tex").read_text()
    assert r"{[}a]\_b \& 50\% \$x\$ \textbackslash{}input\{y\} | z" in tex
    body = tex[tex.index(r"\midrule") : tex.index(r"\bottomrule")].splitlines()[1:]
    columns = len(re.search(r"tabular}{(\w+)}", tex)[1])  # type: ignore[index]
    for line in body:
        assert line.endswith(r"\\") and len(re.findall(r"(?<!\\)&", line)) == columns - 1
    lines = (tmp_path / "ranking.md").read_text().splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_what_a_run_lacks_is_left_out(tmp_path: Path) -> None:
    from tests.support.synthetic_run import synthetic_run

    run = synthetic_run(tmp_path / "bare", truth=False, films=False)
    written = write_tables(contents(run), tmp_path / "tables", ["csv"])
    assert "agreement.csv" not in {path.name for path in written}
    assert "measured" not in (tmp_path / "tables/ranking.csv").read_text()
    figures = write_figures(contents(run), tmp_path / "figures", ["svg"])
    assert [path.name for path in figures] == ["heat-map.svg"]


def test_an_unknown_format_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'svgz' is not a format of figures.*svg, pdf, png"):
        check_formats(["svgz"], [])
    with pytest.raises(UserError, match=r"'xlsx' is not a format of tables.*csv, tex, md"):
        check_formats([], ["xlsx"])
