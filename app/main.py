"""The viewer: `streamlit run app/main.py`, or `worldeval view RUNS`.

This file finds the runs, lets one be chosen, says first what may not be claimed, and hands the
page on. Pages read `st.session_state`: `root`, `runs`, `run` and `contents`.
"""

import os
from pathlib import Path

import numpy as np
import streamlit as st

from worldeval.errors import UserError
from worldeval.report.contents import OUTCOMES, SUMMARY, Contents, read_contents
from worldeval.report.filmstrip import FOLDER, INDEX
from worldeval.report.runs import RunState, find_runs
from worldeval.report.words import escaped

WATCHED = (SUMMARY, *OUTCOMES.values(), f"{FOLDER}/{INDEX}", "run.json", "recipe.yaml")

BLIND = "Judge"  # the page on which nothing may be known of the policies


@st.cache_data(show_spinner="reading the run", max_entries=8)
def contents_of(folder: str, signature: tuple[int, ...]) -> Contents:
    """A run's contents; `signature` changes with its files, so that a live run is read anew."""
    return read_contents(Path(folder), rng=np.random.default_rng(0))


def signature(folder: Path) -> tuple[int, ...]:
    """When the files of a run last changed."""
    paths = [folder / name for name in WATCHED]
    return tuple(path.stat().st_mtime_ns if path.is_file() else 0 for path in paths)


def choose(runs: list[RunState]) -> RunState:
    """The run of the link (`?run=`), or the one picked in the sidebar."""
    names = [run.name for run in runs]
    asked = st.query_params.get("run", "")
    if asked and asked not in names:  # only what was found is opened: no path comes from a link
        st.warning(f"There is no run '{escaped(asked)}' in this folder; here is the newest.")
    if "picked" not in st.session_state or st.session_state["picked"] not in names:
        st.session_state["picked"] = asked if asked in names else names[0]
    name = st.sidebar.selectbox("Run", names, key="picked")
    st.query_params["run"] = name
    return runs[names.index(name)]


def announce(contents: Contents, *, blind: bool) -> None:
    """Refusals and warnings, above every page; who judges blind is told no policy's name."""
    for found in contents.refusals:
        said = f"({escaped(found.code)})" if blind else escaped(found.text)
        st.error(f"**Not a ranking.** {said}", icon=":material/block:")
    if contents.warnings and not blind:
        with st.expander(f"Read with care ({len(contents.warnings)})"):
            for found in contents.warnings:
                st.text(found.text)


st.set_page_config(page_title="worldeval", page_icon=":material/smart_toy:", layout="wide")
root = Path(os.environ.get("WORLDEVAL_RUNS", "runs"))
page = st.navigation(
    [
        st.Page("ranking.py", title="Ranking", icon=":material/leaderboard:", default=True),
        st.Page("rollouts.py", title="Roll-outs", icon=":material/movie:"),
        st.Page("compare.py", title="Compare", icon=":material/compare_arrows:"),
        st.Page("labelling.py", title=BLIND, icon=":material/thumbs_up_down:"),
        st.Page("gates.py", title="Gates and origin", icon=":material/verified:"),
        st.Page("runs.py", title="Runs", icon=":material/folder:"),
    ]
)
runs = find_runs(root) if root.is_dir() else []
if not runs:
    st.info(
        f"No ranking run in {root.absolute()} yet. Make one with `make demo` or `worldeval rank`, "
        "or give another folder: `worldeval view FOLDER`."
    )
    st.stop()
run = choose(runs)
st.session_state.update(root=root, runs=runs, run=run, contents=None)
if run.status == "under way":
    st.info(f"This run is under way or was interrupted: {run.detail}. `worldeval rank` goes on.")
else:
    try:
        st.session_state["contents"] = contents_of(str(run.folder), signature(run.folder))
    except UserError as error:
        st.error(f"This run is broken: {escaped(str(error))}")
if st.session_state["contents"] is not None:
    announce(st.session_state["contents"], blind=page.title == BLIND)
page.run()
