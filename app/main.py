"""The viewer: `streamlit run app/main.py`, or `worldeval view RUNS`.

This file finds the runs, lets the user select one, shows its refusals and warnings, and runs the
page. Pages read `st.session_state`: `root`, `folders`, `runs`, `run`, `contents` (None while a run
is under way or damaged, and on pages that do not need it), `episodes` and `strips`.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image, ImageDraw

from worldeval.errors import UserError
from worldeval.report.contents import (
    ReportContents,
    read_contents,
    read_findings,
    refusals,
    warnings,
)
from worldeval.report.theme import LIGHT
from worldeval.report.words import escaped
from worldeval.runs.episodes import EpisodeTable, read_episodes
from worldeval.runs.films import read_filmstrips
from worldeval.runs.finding import DRIVEN, RunState, check_inside, find_runs, signature
from worldeval.runs.paths import RunPaths
from worldeval.stats import Finding

FIRST = "Ranking"
BLIND = "Judge"  # the page that must not reveal the policies
ALONE = ("Data", "Drive", "Confirm labels")  # pages that need no run
# Pages that show single episodes or none, and so need no statistics over all episodes.
BY_EPISODE = ("Roll-outs", "Export", "Runs")


@st.cache_data(show_spinner="reading the run", max_entries=8)
def contents_of(folder: str, signature: tuple[int, ...]) -> ReportContents:
    """Read a run's contents; `signature` changes with its files, so that a live run is reread."""
    return read_contents(Path(folder), rng=np.random.default_rng(0))


@st.cache_data(show_spinner=False, max_entries=8)
def findings_of(folder: str, signature: tuple[int, ...]) -> tuple[Finding, ...]:
    """Read a run's findings without the rest of its contents."""
    return read_findings(Path(folder), rng=np.random.default_rng(0))


# Cached as a resource, not as data, because large read-only tables need not be copied per page.
@st.cache_resource(show_spinner="reading the episodes", max_entries=4)
def episodes_of(folder: str, signature: tuple[int, ...]) -> EpisodeTable:
    """Read the table of a run's episodes."""
    return read_episodes(Path(folder))


def choose(runs: list[RunState]) -> RunState:
    """Return the run of the link (`?run=`), or the one selected in the sidebar."""
    names = [run.name for run in runs]
    asked = st.query_params.get("run", "")
    if asked and asked not in names:  # a link can only select a run that was found
        st.warning(f"There is no run '{escaped(asked)}' in this folder; showing the newest run.")
    if "picked" not in st.session_state or st.session_state["picked"] not in names:
        # A page that switches to another one loses both the link and the state of the widget.
        first = os.environ.get("WORLDEVAL_RUN", "")
        known = (asked, st.session_state.get("kept_run"), first, names[0])
        st.session_state["picked"] = next(name for name in known if name in names)
    name = st.session_state["kept_run"] = st.sidebar.selectbox("Run", names, key="picked")
    st.query_params["run"] = name
    return runs[names.index(name)]


def announce(findings: Sequence[Finding], *, here: bool, blind: bool) -> None:
    """Show refusals and warnings above the page; on a blind page, without policy names.

    Warnings stand open on the page of the ranking (`here`), and take one line on the others.
    """
    for found in refusals(findings):
        said = f"({escaped(found.code)})" if blind else escaped(found.text)
        st.error(f"**Not a ranking.** {said}", icon=":material/block:")
    careful = warnings(findings)
    if careful and here:
        with st.expander(f"Read with care ({len(careful)})", expanded=True):
            for found in careful:
                st.text(found.text)
    elif careful and not blind:
        count = f"{len(careful)} {'caveat' if len(careful) == 1 else 'caveats'}"
        st.page_link(
            "ranking.py", label=f"{count}: read on the page Ranking", icon=":material/warning:"
        )


def open_run(run: RunState, *, title: str) -> None:
    """Load a run into the session state, and report damaged files."""
    findings: Sequence[Finding] = ()
    whole = title not in BY_EPISODE
    unfinished = run.status in ("under way", DRIVEN)
    if run.status == "under way":
        st.info(
            f"This run is under way: {run.detail}. Run `worldeval rank` again to continue it if it "
            "was stopped."
        )
    elif run.status == DRIVEN and whole:
        st.info("These episodes were driven by hand and are not ranked. Watch them on Roll-outs.")
    try:
        check_inside(run.folder, root)
        now = signature(run.folder)
        if not unfinished and whole:
            st.session_state["contents"] = contents = contents_of(str(run.folder), now)
            findings = contents.findings
        elif not unfinished:
            findings = findings_of(str(run.folder), now)
        st.session_state["episodes"] = episodes_of(str(run.folder), now)
        st.session_state["strips"] = tuple(read_filmstrips(RunPaths(run.folder).films))
    except UserError as error:
        st.session_state["contents"] = None
        st.error(f"This run is damaged: {escaped(str(error))}")
        return
    for problem in st.session_state["episodes"].damaged:
        st.warning(f"Excluded: {escaped(problem)}")
    announce(findings, here=title == FIRST, blind=title == BLIND)


def icon() -> Image.Image:
    """Draw the page icon, because a named icon would be fetched from the network."""
    picture = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((10, 10, 30, 30), fill=LIGHT.real)
    draw.rectangle((1, 1, 21, 21), fill=LIGHT.imagined)
    return picture


st.set_page_config(page_title="worldeval", page_icon=icon(), layout="wide")
root = Path(os.environ.get("WORLDEVAL_RUNS", "runs"))
further = [Path(name) for name in os.environ.get("WORLDEVAL_DATA", "").split(os.pathsep) if name]
pages = {
    "ranking": (FIRST, ":material/leaderboard:"),
    "rollouts": ("Roll-outs", ":material/movie:"),
    "compare": ("Compare", ":material/compare_arrows:"),
    "labelling": (BLIND, ":material/thumbs_up_down:"),
    "gates": ("Gates and provenance", ":material/verified:"),
    "exporting": ("Export", ":material/ios_share:"),
    "runs": ("Runs", ":material/folder:"),
    "browse": ("Data", ":material/database:"),
    "drive": ("Drive", ":material/sports_esports:"),
}
if os.environ.get("WORLDEVAL_LABELS"):
    pages["confirming"] = ("Confirm labels", ":material/fact_check:")
opened = os.environ.get("WORLDEVAL_PAGE", "")
first = opened if opened in pages else "ranking"
page = st.navigation(
    [
        st.Page(f"{file}.py", title=title, icon=symbol, default=file == first)
        for file, (title, symbol) in pages.items()
    ]
)
labels_only = bool(os.environ.get("WORLDEVAL_LABELS"))  # their folder need not be one of runs
runs = find_runs(root) if root.is_dir() and not labels_only else []
st.session_state.update(
    root=root,
    folders=(root, *further),
    runs=runs,
    run=None,
    contents=None,
    episodes=None,
    strips=(),
)
if runs:
    st.session_state["run"] = choose(runs)
    if page.title not in ALONE:
        open_run(st.session_state["run"], title=page.title)
elif page.title not in ALONE:
    st.info(
        f"There is no ranking run in {root.absolute()} yet. Create one with `make demo` or "
        "`worldeval rank`, or open another folder: `worldeval view FOLDER`."
    )
    st.stop()
page.run()
