"""`worldeval data`: inspect, check, convert and collect recorded trajectories."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worldeval.cli.common import (
    OUTPUT,
    Format,
    Json,
    Map,
    Out,
    Seed,
    console,
    emit,
    log,
    opened,
    verb,
)
from worldeval.run import whole_file

if TYPE_CHECKING:
    from worldeval.data.source import Source
    from worldeval.data.summary import DatasetSummary, Range

data = typer.Typer(
    name="data", help="Inspect, check, convert and collect trajectories.", no_args_is_help=True
)

Dataset = Annotated[Path, typer.Argument(help="The folder (or file) of a dataset.")]

CHANGES = "Which parts"

# Commands of this group in other modules, each with `register(data)`.
FURTHER = ("collect", "encode")


def register(app: typer.Typer) -> None:
    """Add the `data` group."""
    app.add_typer(data)


for name in FURTHER:
    if find_spec(f"worldeval.cli.{name}") is not None:
        import_module(f"worldeval.cli.{name}").register(data)


def inspect(
    path: Dataset,
    kind: Format = None,
    named: Map = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File for the contact sheet. Default: runs/inspect/NAME.png."),
    ] = None,
    sheet: Annotated[bool, typer.Option(help="Draw the contact sheet.")] = True,
    map_file: Annotated[
        Path | None,
        typer.Option("--write-map", help="File to which the printed map is written, for editing."),
    ] = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Summarise a dataset and how it was read, and draw a contact sheet.

    The printed map states the meaning of every column and marks guesses. To change it, edit it and
    pass it with --map. The exit status is 1 if data are missing.
    """
    from dataclasses import asdict

    from worldeval.data.check.check import harmful
    from worldeval.data.contact_sheet import contact_sheet
    from worldeval.data.map_text import write_map
    from worldeval.data.summary import summarise

    source = opened(path, kind, named)
    summary, text = summarise(source), write_map(source)
    if map_file is not None:
        with whole_file(map_file) as draft:
            draft.write_text(text, encoding="utf-8")
    picture = None
    if sheet and source.spec.views and source.heads:
        picture = contact_sheet(source, out or Path("runs/inspect") / f"{_name(path)}.png")
    result = {**asdict(summary), "sheet": picture and str(picture), "map": text}
    emit(result, as_json=as_json)
    if not as_json:
        _show(summary)
        console.print(text, soft_wrap=True)
        if picture:
            console.print(f"contact sheet: {picture}")
    if harmful(summary.findings):
        raise typer.Exit(1)


def check(
    path: Dataset,
    kind: Format = None,
    named: Map = None,
    pictures: Annotated[bool, typer.Option(help="Also decode and check every frame.")] = True,
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Find problems that would harm training; the exit status is 1 if there are any."""
    from dataclasses import asdict

    from rich.progress import Progress

    from worldeval.data.check.check import check as check_source
    from worldeval.data.check.check import harmful

    source = opened(path, kind, named)
    with Progress(console=log) as bar:
        task = bar.add_task("episodes", total=len(source))
        findings = check_source(
            source,
            pictures=pictures,
            progress=lambda count, total: bar.update(task, completed=count, total=total),
        )
    emit([asdict(finding) for finding in findings], as_json=as_json, out=out)
    if not as_json:
        for finding in findings:
            where = f"episode {finding.episode}: " if finding.episode is not None else ""
            line = f"{finding.severity}: {finding.code}: {where}{finding.field} {finding.text}"
            console.print(line, soft_wrap=True)
        errors = sum(finding.severity == "error" for finding in findings)
        console.print(f"{len(source)} episodes, {len(findings)} findings, {errors} harmful")
    if harmful(findings):
        raise typer.Exit(1)


def convert(
    path: Dataset,
    made: Annotated[
        Path | None, typer.Argument(help="Dataset to write: a folder, or a .hdf5 file.")
    ] = None,
    to: Annotated[
        str,
        typer.Option("--to", help="Format to write: lerobot, robomimic, or shards to train on."),
    ] = "lerobot",
    kind: Format = None,
    named: Map = None,
    views: Annotated[
        list[str] | None,
        typer.Option("--view", help="Camera view to keep. May be repeated. Default: all."),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Frames per second to write. Default: those of the dataset."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Height and width to resize every view to, such as 64x64.")
    ] = None,
    rotation: Annotated[
        str | None,
        typer.Option(
            help="Rotation format to convert roll, pitch, yaw to: 6d, which has no discontinuities."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of the dataset to convert. Default: all.")
    ] = None,
    skip_damaged: Annotated[
        bool, typer.Option(help="Skip and report episodes that cannot be read.")
    ] = False,
    data_mb: Annotated[
        float, typer.Option(help="Maximum size of a LeRobot data file, in MB.")
    ] = 100,
    video_mb: Annotated[
        float, typer.Option(help="Maximum size of a LeRobot video file, in MB.")
    ] = 200,
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Convert a dataset to another format; running it again continues an interrupted conversion."""
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from worldeval.data.convert import convert as convert_source
    from worldeval.data.formats.lerobot.layout import FileLimits
    from worldeval.errors import UserError

    target = made or out
    if target is None:
        raise UserError(
            "The destination is missing. Give it: worldeval data convert SRC DST (or --out DST)."
        )
    source = _adapted(opened(path, kind, named), size, rotation)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=log) as bar:
        task = bar.add_task("episodes", total=len(source))
        done = convert_source(
            source,
            target,
            to=to,
            views=tuple(views) if views else None,
            fps=fps,
            split=split,
            skip_damaged=skip_damaged,
            limits=FileLimits(data_mb=data_mb, video_mb=video_mb),
            progress=lambda count, total: bar.update(task, completed=count, total=total),
        )
    result = {
        "out": str(done.out),
        "format": done.format,
        "episodes": done.episodes,
        "frames": done.frames,
        "skipped": [finding.text for finding in done.skipped],
    }
    emit(result, as_json=as_json)
    if not as_json:
        console.print(f"{done.episodes} episodes, {done.frames} frames in {done.out}")
        for finding in done.skipped:
            log.print(f"episode {finding.episode}: {finding.text}")


def _adapted(source: "Source", size: str | None, rotation: str | None) -> "Source":
    """Resize images and convert rotations of a dataset, as requested."""
    from worldeval.data.adapt import AdaptedSource
    from worldeval.data.rotation import FORMS
    from worldeval.errors import UserError, did_you_mean

    if size is None and rotation is None:
        return source
    sides = re.fullmatch(r"(\d{1,4})x(\d{1,4})", size or "1x1")
    if sides is None or "0" in sides.groups():
        raise UserError(
            f"--size {size} is not valid; give height x width in pixels, such as 64x64."
        )
    if rotation is not None and rotation not in FORMS:
        raise UserError(f"There is no rotation format '{rotation}'.{did_you_mean(rotation, FORMS)}")
    pixels = None if size is None else (int(sides[1]), int(sides[2]))
    return AdaptedSource(source, size=pixels, rotation=FORMS[rotation] if rotation else None)


def _show(summary: "DatasetSummary") -> None:
    from rich.table import Table

    from worldeval.data.finding import counted

    facts = Table(box=None, show_header=False)
    views = ", ".join(f"{view} {h}x{w}" for view, (h, w) in summary.views.items())
    tasks = [f"{count} x {task or '(no text)'}" for task, count in summary.tasks.items()]
    for name, value in (
        ("format", summary.format),
        ("episodes", f"{summary.episodes} ({_counts(summary.splits)})"),
        ("frames", f"{summary.frames} at {summary.fps:g} a second"),
        ("views", views),
        ("success", _counts(summary.success)),
        ("tasks", "\n".join(tasks[:12] + ["..."] * (len(tasks) > 12))),
    ):
        facts.add_row(name, value)
    console.print(facts)
    for title, ranges in (("action", summary.action), ("pose", summary.pose)):
        console.print(_range_table(title, ranges))
    for code, count in counted(summary.findings).items():
        first = next(finding for finding in summary.findings if finding.code == code)
        log.print(f"{count} x {code}: episode {first.episode}: {first.text}")


def _range_table(title: str, ranges: "list[Range]"):
    from rich.table import Table

    table = Table(box=None, title_justify="left")
    for column in (title, "min", "1%", "99%", "max"):
        table.add_column(column, justify="left" if column == title else "right")
    for row in ranges:
        table.add_row(row.name, *(f"{x:.4g}" for x in (row.min, row.p01, row.p99, row.max)))
    return table


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _name(path: Path) -> str:
    return path.resolve().stem or "dataset"


verb(
    data,
    "inspect",
    inspect,
    "worldeval data inspect lerobot/pusht",
    panels={OUTPUT: ("out", "sheet")},
)
verb(data, "check", check, "worldeval data check lerobot/pusht", panels={CHANGES: ("pictures",)})
verb(
    data, "convert", convert,
    "worldeval data convert lerobot/pusht runs/data/pusht --to shards --size 64x64",
    panels={
        CHANGES: ("views", "fps", "size", "rotation", "split", "skip_damaged"),
        OUTPUT: ("to", "data_mb", "video_mb"),
    },
)  # fmt: skip
