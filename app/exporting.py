# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false
"""Page: select imagined episodes, write them as a dataset, and download it."""

import re
import tempfile
import zipfile
from pathlib import Path

import pandas as pd
import streamlit as st

from worldeval.errors import UserError
from worldeval.expression import Expression
from worldeval.report.verbs import run_verb
from worldeval.runs.episodes import CUT, EpisodeTable
from worldeval.runs.paths import FOLDERS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
TALLEST = 25  # policies shown without scrolling the table
LARGEST = 200 * 2**20  # maximum size of a download in bytes

run = st.session_state["run"]
episodes: EpisodeTable | None = st.session_state["episodes"]
if episodes is None:
    st.stop()
assert run is not None


def records(table: pd.DataFrame) -> list[dict]:
    """Return the columns of `worldeval export --select` for every roll-out."""
    known = table.assign(
        success=table["score"] >= CUT, probability=table["score"], origin="imagined"
    )
    kept = ["origin", "success", "probability", "policy", "task", "start", "seed"]
    further = [name for name in ("lineage", "step") if name in known]
    known = known.rename(columns={"mended": "mended_actions"})
    trust = ["mended_actions"] if "mended_actions" in known else []
    return known[[*kept, *further, *trust]].to_dict("records")


def expression(policies: list[str], tasks: list[str], least: float, success: bool) -> str:
    """Build the selection from the widgets."""
    parts = ["success"] if success else []
    parts += [f"probability >= {least:g}"] if least > 0 else []
    parts += [f"policy in {policies!r}"] if policies else []
    parts += [f"task in {tasks!r}"] if tasks else []
    return " and ".join(parts)


def target(name: str) -> Path:
    """Return a new folder inside the run to write to."""
    if not NAME.fullmatch(name) or name in FOLDERS:
        raise UserError(
            f"'{name}' is not a valid dataset name. Use letters, digits, - and _, but not "
            f"{', '.join(sorted(FOLDERS))}."
        )
    folder = run.folder / name
    if folder.exists():
        raise UserError(f"{folder} already exists. Choose another name.")
    return folder


def packed(folder: Path) -> bytes | None:
    """Pack a dataset into a zip file; None if it is too large to download."""
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
st.caption("Export imagined episodes, with the judge's verdicts, as a LeRobot v3 dataset.")
stored = episodes.table[episodes.table["file"] != ""]
if stored.empty:
    st.info("This run has no imagined roll-outs to export. Create some with `worldeval rank`.")
    st.stop()

left, right = st.columns(2)
policies = left.multiselect("Policies", sorted(set(stored["policy"])), placeholder="all")
tasks = right.multiselect("Tasks", sorted(set(stored["task"])), placeholder="all")
success = left.toggle("Only episodes judged as success", value=True)
least = right.slider("Minimum probability of success", 0.0, 1.0, 0.8, 0.05)
written = st.text_input(
    "Selection",
    expression(policies, tasks, least, success),
    help="In the syntax of --select. Columns: success, probability, policy, lineage, step, task, "
    "start, seed and the trust signals.",
)
try:
    known = records(stored)
    selection = Expression(written, list(known[0])) if written.strip() else None
    kept = [record for record in known if selection is None or selection(record)]
except UserError as error:
    st.error("This selection is not valid.")
    st.text(str(error))
    st.stop()

st.metric("Episodes", f"{len(kept):,} of {len(known):,}")
if not kept:
    st.warning("No episode matches. Use a less strict selection.")
    st.stop()
counts = pd.DataFrame(kept).pivot_table(
    index="policy", columns="task", values="seed", aggfunc="count", fill_value=0
)
counts.insert(0, "all", counts.sum(axis=1))
st.dataframe(counts, height="content" if len(counts) <= TALLEST else "auto")
if "real" in stored and stored["real"].notna().any():
    chosen = {(record["policy"], record["start"]) for record in kept}
    keys = list(zip(stored["policy"], stored["start"], strict=True))
    real = stored["real"][[key in chosen for key in keys]].dropna()
    st.caption(
        f"For {len(real):,} of these the outcome was measured: {real.mean():.0%} succeeded. This "
        "helps to assess the selection; measured outcomes are not exported."
    )

name = st.text_input("Name", "dataset-2" if (run.folder / "dataset").exists() else "dataset")
if st.button("Write the dataset", type="primary", icon=":material/save:"):
    try:
        folder = target(name.strip())
        chosen = ("--select", written) if written.strip() else ()
        with st.spinner("Decoding and writing in a separate process."):
            done = run_verb("export", str(run.folder), "--out", str(folder), *chosen)
    except UserError as error:
        st.error("The dataset was not written.")
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
        st.caption("The dataset is too large to download here; copy it from its folder.")
    else:
        st.download_button(
            "Download", content, f"{Path(folder).name}.zip", "application/zip", on_click="ignore"
        )
