"""A run as a static site to send: one page and its films, readable from a file or a web server.

The page holds the numbers as JSON and draws them in the browser. Everything from a run is text to
it, never markup, and its content security policy lets it run no script but its own and load nothing
but the files beside it.
"""

import base64
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from worldeval.axes import Array, UInt8
from worldeval.errors import UserError
from worldeval.files import whole_file
from worldeval.report.bundle_data import bundle_data
from worldeval.report.contents import ReportContents
from worldeval.report.film import encoded, labelled
from worldeval.report.page import stylesheet, template_environment
from worldeval.report.strip import open_strip
from worldeval.report.thumbnail import webp
from worldeval.runs.episodes import EpisodeTable, filmed
from worldeval.runs.paths import RunPaths

PAGE, FILMS = "index.html", "films"
MARK = '<meta name="generator" content="worldeval bundle">'  # of a folder that may be replaced
SCRIPTS = ("bundle.js", "bundle_player.js", "bundle_pages.js")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A written site."""

    path: Path  # the page to open
    episodes: int
    films: int
    megabytes: float


def write_bundle(contents: ReportContents, episodes: EpisodeTable, folder: Path) -> Bundle:
    """Write the site of a run into `folder`, which is new, empty, or an earlier bundle.

    Raises:
        UserError: the folder holds something else, or a film strip is missing or damaged.
    """
    check_target(folder)
    own = filmed(episodes, contents.strips)
    films = {name: f"{FILMS}/{place:04d}" for place, name in enumerate(own)}
    shutil.rmtree(folder / FILMS, ignore_errors=True)
    lengths = {}
    for name, strip in own.items():
        drawn = labelled(
            open_strip(RunPaths(contents.folder).films, strip),
            sides=("imagined", contents.compared.label),
        )
        lengths[name] = _write_film(drawn, folder / films[name])
    data = bundle_data(contents, episodes, strips=own, files=films, lengths=lengths)
    with whole_file(folder / PAGE) as draft:
        draft.write_text(_page(contents.name, data), encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Bundle(
        path=folder / PAGE, episodes=len(episodes), films=len(films), megabytes=size / 2**20
    )


def check_target(folder: Path) -> None:
    """Refuse a folder in which writing a bundle would mix with or replace other files.

    Raises:
        UserError: it is a file, or holds something that is not a bundle.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file. Give a new folder for the bundle.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    page = folder / PAGE
    if page.is_file() and MARK.encode() in page.read_bytes()[:4096]:
        return
    raise UserError(
        f"{folder} is not empty and holds no earlier bundle. Give a new folder for the bundle."
    )


def _write_film(drawn: UInt8[Array, "t h w 3"], target: Path) -> int:
    """Write a film and the picture that stands for it; returns the number of frames."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".mp4").write_bytes(encoded(drawn, foot=0, small=True))
    target.with_suffix(".webp").write_bytes(webp(drawn[-1], side=320))
    return len(drawn)


def _page(name: str, data: dict[str, Any]) -> str:
    loader = PackageLoader("worldeval.report")

    def source(file: str) -> str:
        return loader.get_source(Environment(), file)[0]

    script = '"use strict";\n' + "\n".join(source(file) for file in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        template_environment()
        .get_template("bundle.html.j2")
        .render(
            name=name,
            mark=MARK,
            css=stylesheet() + source("bundle.css"),
            data=quoted(data),
            script=script,
            digest=digest,
            verdict=data["verdict"],
        )
    )


def quoted(data: Any) -> str:
    """Return JSON that no HTML parser can take for the end of its script element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
