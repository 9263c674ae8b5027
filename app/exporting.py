# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false
"""Page: choose imagined episodes, see how many there are, write them as a dataset, download it."""

import re
import tempfile
import zipfile
from pathlib import Path

import pandas as pd
import streamlit as st

from worldeval.errors import UserError
from worldeval.export.select import Selection
from worldeval.report.verbs import run_verb
from worldeval.runs.episodes import CUT, EpisodeTable
from worldeval.runs.paths import FOLDERS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
TALLEST = 25  # policies shown without scrolling the table
LARGEST = 200 * 2**20  # bytes that are handed to a browser

run = st.session_state["run"]
episodes: EpisodeTable | None = st.session_state["episodes"]
if episodes is None:
    st.stop()
assert run is not None


def records(table: pd.DataFrame) -> list[dict]:
    """What `worldeval export --select` knows of every roll-out, by the same names."""
    known = table.assign(
        success=table["score"] >= CUT, probability=table["score"], origin="imagined"
    )
    kept = ["origin", "success", "probability", "policy", "task", "start", "seed"]
    further = [name for name in ("lineage", "step") if name in known]
    known = known.rename(columns={"mended": "mended_actions"})
    trust = ["mended_actions"] if "mended_actions" in known else []
    return known[[*kept, *further, *trust]].to_dict("records")


def expression(policies: list[str], tasks: list[str], least: float, success: bool) -> str:
    """The selection that the boxes stand for."""
    parts = ["success"] if success else []
    parts += [f"probability >= {least:g}"] if least > 0 else []
    parts += [f"policy in {policies!r}"] if policies else []
    parts += [f"task in {tasks!r}"] if tasks else []
    return " and ".join(parts)


def target(name: str) -> Path:
    """The folder to write: inside of the run, and none that holds something."""
    if not NAME.fullmatch(name) or name in FOLDERS:
        raise UserError(
            f"'{name}' is no name for a dataset: letters, digits, - and _, and not one of "
            f"{', '.join(sorted(FOLDERS))}."
        )
    folder = run.folder / name
    if folder.exists():
        raise UserError(f"{folder} is there already. Give another name.")
    return folder


def packed(folder: Path) -> bytes | None:
    """A dataset as one zip file; None where it is too large for that."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if sum(path.stat().st_size for path in files) > LARGEST:
        return None
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for path in files:
                archive.write(path, Path(folder.name) / path.relative_to(folder))
        file.seek(0)
        return file.read()


st.header("Export")
st.caption("Imagined episodes as a LeRobot v3 dataset, each with the judge's verdict.")
stored = episodes.table[episodes.table["file"] != ""]
if stored.empty:
    st.info("This run holds no imagined roll-out to export; `worldeval rank` makes them.")
    st.stop()

left, right = st.columns(2)
policies = left.multiselect("Policies", sorted(set(stored["policy"])), placeholder="all")
tasks = right.multiselect("Tasks", sorted(set(stored["task"])), placeholder="all")
success = left.toggle("Only those judged a success", value=True)
least = right.slider("Probability of success at least", 0.0, 1.0, 0.8, 0.05)
written = st.text_input(
    "Selection",
    expression(policies, tasks, least, success),
    help="As --select takes it. Columns: success, probability, policy, lineage, step, task, start, "
    "seed and the signals of trust.",
)
try:
    known = records(stored)
    selection = Selection(written, list(known[0])) if written.strip() else None
    kept = [record for record in known if selection is None or selection(record)]
except UserError as error:
    st.error("This selection cannot be used.")
    st.text(str(error))
    st.stop()

st.metric("EpisodeTable", f"{len(kept):,} of {len(known):,}")
if not kept:
    st.warning("Nothing is left. Loosen the selection.")
    st.stop()
counts = pd.DataFrame(kept).pivot_table(
    index="policy", columns="task", values="seed", aggfunc="count", fill_value=0
)
counts.insert(0, "all tasks", counts.sum(axis=1))
st.dataframe(counts, height="content" if len(counts) <= TALLEST else "auto")
if "real" in stored and stored["real"].notna().any():
    chosen = {(record["policy"], record["start"]) for record in kept}
    keys = list(zip(stored["policy"], stored["start"], strict=True))
    real = stored["real"][[key in chosen for key in keys]].dropna()
    st.caption(
        f"Of these, {len(real):,} were also run for real: {real.mean():.0%} really succeeded. That "
        "is shown to judge the selection; nothing of it goes into the dataset."
    )

name = st.text_input("Name", "dataset-2" if (run.folder / "dataset").exists() else "dataset")
if st.button("Write the dataset", type="primary", icon=":material/save:"):
    try:
        folder = target(name.strip())
        chosen = ("--select", written) if written.strip() else ()
        with st.spinner("decoding and writing, in a process of its own"):
            done = run_verb("export", str(run.folder), "--out", str(folder), *chosen)
    except UserError as error:
        st.error("It was not written.")
        st.text(str(error))
        st.stop()
    st.session_state["written"] = (run.name, str(folder), done)

if st.session_state.get("written", ("",))[0] == run.name:
    _, folder, done = st.session_state["written"]
    st.success(
        f"{done['episodes']:,} episodes, {done['frames']:,} frames, {done['successes']:,} "
        "successful."
    )
    st.text(f"In {folder}")
    content = packed(Path(folder)) if Path(folder).is_dir() else None
    if content is None:
        st.caption("It is too large to be downloaded here; take it from its folder.")
    else:
        st.download_button(
            "Download", content, f"{Path(folder).name}.zip", "application/zip", on_click="ignore"
        )
