"""The figures and tables of a report as files of their own, for a paper or a slide."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from worldeval.errors import UserError, did_you_mean
from worldeval.files import whole_file
from worldeval.report.contents import MEASURES, ReportContents
from worldeval.report.drawn import rate_panels, rate_points
from worldeval.report.figures import predicted_against_real, small_multiples
from worldeval.report.heat_map import heat_map, heat_parts
from worldeval.report.words import escaped
from worldeval.stats import Estimate

FIGURES = ("svg", "pdf", "png")
TABLES = ("csv", "tex", "md")
Cell = str | int | float | Estimate | None


@dataclass(frozen=True, kw_only=True)
class ReportTable:
    """A table: CSV gets an estimate's value, low and high in three columns, others get one text."""

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def write_figures(contents: ReportContents, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write every figure of the report in every format."""
    written = []
    for name, draw in _figures(contents) if formats else ():
        figure = draw()
        for suffix in formats:
            path = folder / f"{name}.{suffix}"
            with whole_file(path) as draft, mpl.rc_context(FILES):
                # A date would make the same figure another file.
                dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix)
                figure.savefig(draft, format=suffix, metadata=dated)
            written.append(path)
    return written


# Letters of a PDF stay text; names of parts of an SVG do not change from run to run.
FILES: Any = {"pdf.fonttype": 42, "svg.hashsalt": "worldeval"}


def write_tables(contents: ReportContents, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write every table of the report in every format: CSV, LaTeX (booktabs) or Markdown."""
    writers: dict[str, Callable[[ReportTable], str]] = {"csv": _csv, "tex": _tex, "md": _md}
    written = []
    for table in report_tables(contents) if formats else ():
        for suffix in formats:
            path = folder / f"{table.name}.{suffix}"
            with whole_file(path) as draft:
                draft.write_text(writers[suffix](table), encoding="utf-8")
            written.append(path)
    return written


def report_tables(contents: ReportContents) -> Iterator[ReportTable]:
    """Yield the tables of a report that are not empty."""
    measured = f"{contents.compared.adjective} success"
    rows = [
        (row.rank, row.policy, row.lineage, row.predicted, row.truth, row.letters,
         row.probability_best, row.validation_mse)
        for row in contents.rows
    ]  # fmt: skip
    header = ("rank", "policy", "lineage", "predicted success", measured, "tied group", "P(best)",
              "validation MSE")  # fmt: skip
    yield from _table("ranking", header, rows)
    names = contents.measures
    agreement = [
        (each.name, *(each.measures.get(name) for name in names)) for each in contents.evaluators
    ]
    yield from _table("agreement", ("ranked by", *(MEASURES[name] for name in names)), agreement)
    cells = [
        (cell.policy, task.task, cell.predicted, cell.truth)
        for task in contents.tasks
        for cell in task.cells
    ]
    yield from _table("tasks", ("policy", "task", "predicted success", measured), cells)
    gates = [
        (gate.title, gate.value, gate.threshold, _passed(gate.passed)) for gate in contents.gates
    ]
    yield from _table("gates", ("gate", "value", "threshold", "verdict"), gates)
    hashes = [(each.kind, each.name, each.hash) for each in contents.hashes]
    yield from _table("fingerprints", ("part", "name", "hash"), hashes)


def _figures(contents: ReportContents) -> Iterator[tuple[str, Callable[[], Figure]]]:
    words = contents.compared
    if points := rate_points(contents):
        yield "predicted", lambda: predicted_against_real(points, words=words)
    panels = rate_panels(contents)
    if len(panels) > 1:
        yield "tasks", lambda: small_multiples(panels, words=words)
    if contents.tasks:
        names = [row.policy for row in contents.rows]
        yield "heat-map", lambda: heat_map(heat_parts(contents.tasks, names, words))


def _table(
    name: str, header: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> Iterator[ReportTable]:
    """Yield a table with rows, without the columns in which nothing is known."""
    kept = [k for k in range(len(header)) if any(row[k] not in (None, "") for row in rows)]
    if rows:
        yield ReportTable(
            name=name,
            header=tuple(header[k] for k in kept),
            rows=tuple(tuple(row[k] for k in kept) for row in rows),
        )


def _csv(table: ReportTable) -> str:
    """Write numbers in full; an estimate has a column for each of value, low and high."""
    wide = [
        any(isinstance(row[k], Estimate) for row in table.rows) for k in range(len(table.header))
    ]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header = (
        (name, f"{name} low", f"{name} high") if split else (name,)
        for name, split in zip(table.header, wide, strict=True)
    )
    writer.writerow([name for names in header for name in names])
    for row in table.rows:
        cells: list[Cell] = []
        for value, split in zip(row, wide, strict=True):
            one = value if isinstance(value, Estimate) else Estimate(value=None)
            cells += [one.value, one.low, one.high] if split else [value]
        writer.writerow(["" if cell is None else cell for cell in cells])
    return out.getvalue()


def _tex(table: ReportTable) -> str:
    """Write a `tabular` for the LaTeX package booktabs."""
    columns = "".join("l" if _is_text(table, k) else "r" for k in range(len(table.header)))
    lines = [
        "% needs \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        " & ".join(map(_latex, table.header)) + " \\\\",
        "\\midrule",
        *(" & ".join(_latex(_shown(cell)) for cell in row) + " \\\\" for row in table.rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _md(table: ReportTable) -> str:
    rule = ["---" if _is_text(table, k) else "---:" for k in range(len(table.header))]
    rows = [list(table.header), *([_shown(cell) for cell in row] for row in table.rows)]
    lines = [f"| {' | '.join(map(escaped, row))} |" for row in rows]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]]) + "\n"


def _shown(cell: Cell) -> str:
    if isinstance(cell, Estimate):
        if cell.value is None:
            return "-"
        bounds = f" [{cell.low:.2f}, {cell.high:.2f}]" if cell.has_interval else ""
        return f"{cell.value:.2f}{bounds}"
    if isinstance(cell, float):
        return f"{cell:.3g}"
    return "" if cell is None else str(cell)


def _is_text(table: ReportTable, column: int) -> bool:
    return all(isinstance(row[column], str | None) for row in table.rows)


LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "_": r"\_", "%": r"\%", "[": "{[}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def _latex(text: str) -> str:
    flat = " ".join(text.split())
    # A bracket at the beginning of a row would be read as an argument of the row above.
    flat = re.sub(r"[\\{}$&#_%~^[]", lambda found: LATEX[found[0]], flat)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", flat)


def _passed(passed: bool | None) -> str:
    return {True: "passed", False: "failed", None: ""}[passed]


def check_formats(figures: Sequence[str], tables: Sequence[str]) -> None:
    """Refuse unknown formats of figures and tables, before anything is written.

    Raises:
        UserError: a format is unknown.
    """
    for what, given, known in (("figures", figures, FIGURES), ("tables", tables, TABLES)):
        for each in given:
            if each not in known:
                raise UserError(
                    f"'{each}' is not a format of {what}; they are written as "
                    f"{', '.join(known)}.{did_you_mean(each, known)}"
                )
