"""`worldeval data`: inspect, check, convert and collect recorded trajectories."""

import re
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worldeval.cli.common import (
    OUTPUT,
    Every,
    Format,
    Json,
    Map,
    Out,
    Seed,
    console,
    counted,
    emit,
    log,
    verb,
)
from worldeval.errors import UserError

if TYPE_CHECKING:
    from worldeval.api.data import DatasetSummary, Range

data = typer.Typer(
    name="data", help="Inspect, check, convert and collect trajectories.", no_args_is_help=True
)

Dataset = Annotated[Path, typer.Argument(help="Folder (or file) of a dataset.")]

CHANGES = "Which parts"

# Commands of this group in other modules, each with `register(data)`.
FURTHER = ("collect", "encode", "data_report")


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

    from worldeval.api.data import inspect_dataset

    picture = out or Path("runs/inspect") / f"{path.resolve().stem or 'dataset'}.png"
    found = inspect_dataset(
        path, format=kind, map=named, sheet=picture if sheet else None, map_file=map_file
    )
    result = {**asdict(found.summary), "sheet": found.sheet, "map": found.map}
    emit(result, as_json=as_json)
    if not as_json:
        _show(found.summary)
        console.print(found.map, soft_wrap=True)
        if found.sheet:
            console.print(f"contact sheet: {found.sheet}")
    if found.harmful:
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

    from worldeval.api.data import check_dataset

    with counted("episodes") as progress:
        found = check_dataset(path, format=kind, map=named, pictures=pictures, progress=progress)
    emit([asdict(finding) for finding in found.findings], as_json=as_json, out=out)
    if not as_json:
        for finding in found.findings:
            where = f"episode {finding.episode}: " if finding.episode is not None else ""
            line = f"{finding.severity}: {finding.code}: {where}{finding.field} {finding.text}"
            console.print(line, soft_wrap=True)
        errors = sum(finding.severity == "error" for finding in found.findings)
        console.print(
            f"{found.episodes} episodes, {len(found.findings)} findings, {errors} harmful"
        )
    if found.harmful:
        raise typer.Exit(1)


def label(
    path: Dataset,
    judge: Annotated[
        str,
        typer.Option(
            "--judge",
            help="Judge of frames: vlm:URL?model=NAME, ws://HOST, ./mine.py:make, rule:...",
        ),
    ],
    kind: Format = None,
    named: Map = None,
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Ask a judge whether recorded episodes succeeded, and write a CSV of labels.

    Episodes that the file already has from this judge are not asked for again.
    """
    from dataclasses import asdict

    from worldeval.api.label import label_data

    file = out or Path("runs/labels.csv")
    with counted("episodes") as progress:
        labels = label_data(path, judge, file, format=kind, map=named, progress=progress)
    emit([asdict(label) for label in labels], as_json=as_json)
    if not as_json:
        said = [label.success for label in labels]
        console.print(
            f"{said.count('true')} successes, {said.count('false')} failures, {said.count('')} "
            f"without an answer: {file}"
        )
        both = [each for each in labels if each.success and each.recorded]
        if both:
            same = sum(each.success == each.recorded for each in both)
            console.print(f"equal to the recorded outcome: {same} of {len(both)}")


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
        typer.Option(
            help="Frames per second to write: the dataset's rate divided by a whole number; steps "
            "in between are stacked as with --every. Default: the dataset's."
        ),
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
    backwards: Annotated[
        bool,
        typer.Option(
            "--backwards",
            help="Write every episode from its last frame to its first, for world models that "
            "imagine what comes before a goal.",
        ),
    ] = False,
    skip_damaged: Annotated[
        bool, typer.Option(help="Skip and report episodes that cannot be read.")
    ] = False,
    data_mb: Annotated[
        float, typer.Option(help="Maximum size of a LeRobot data file, in MB.")
    ] = 100,
    video_mb: Annotated[
        float, typer.Option(help="Maximum size of a LeRobot video file, in MB.")
    ] = 200,
    every: Every = None,
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Convert a dataset to another format; running it again continues an interrupted conversion."""
    from worldeval.api.data import convert_dataset

    target = made or out
    if target is None:
        raise UserError(
            "The destination is missing. Give it: worldeval data convert SRC DST (or --out DST)."
        )
    with counted("episodes") as progress:
        done = convert_dataset(
            path,
            target,
            to=to,
            format=kind,
            map=named,
            views=views,
            fps=fps,
            every=every or 1,
            size=_pixels(size),
            rotation=rotation,
            split=split,
            backwards=backwards,
            skip_damaged=skip_damaged,
            data_mb=data_mb,
            video_mb=video_mb,
            progress=progress,
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


def _pixels(size: str | None) -> tuple[int, int] | None:
    """Read the height and width of `64x64`."""
    if size is None:
        return None
    sides = re.fullmatch(r"(\d{1,4})x(\d{1,4})", size)
    if sides is None or "0" in sides.groups():
        raise UserError(
            f"--size {size} is not valid; give height x width in pixels, such as 64x64."
        )
    return int(sides[1]), int(sides[2])


def _show(summary: "DatasetSummary") -> None:
    from rich.table import Table

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
    for code, count in summary.counted.items():
        first = next(finding for finding in summary.findings if finding.code == code)
        log.print(f"{count} x {code}: episode {first.episode}: {first.text}")


def _range_table(title: str, ranges: "Sequence[Range]"):
    from rich.table import Table

    table = Table(box=None, title_justify="left")
    for column in (title, "min", "1%", "99%", "max"):
        table.add_column(column, justify="left" if column == title else "right")
    for row in ranges:
        table.add_row(row.name, *(f"{x:.4g}" for x in (row.min, row.p01, row.p99, row.max)))
    return table


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


verb(
    data,
    "inspect",
    inspect,
    "worldeval data inspect lerobot/pusht",
    panels={OUTPUT: ("out", "sheet")},
)
verb(
    data, "label", label,
    "worldeval data label recordings --judge 'vlm:http://gpu:8000/v1?model=qwen'",
)  # fmt: skip
verb(data, "check", check, "worldeval data check lerobot/pusht", panels={CHANGES: ("pictures",)})
verb(
    data, "convert", convert,
    "worldeval data convert lerobot/pusht runs/data/pusht --to shards --size 64x64",
    panels={
        CHANGES: ("views", "fps", "size", "rotation", "split", "backwards", "skip_damaged"),
        OUTPUT: ("to", "data_mb", "video_mb"),
    },
)  # fmt: skip
