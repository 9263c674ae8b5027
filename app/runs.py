"""Page: all runs in the folder, with their progress and cost."""

from datetime import datetime

import pandas as pd
import streamlit as st

from worldeval.report.number import seconds
from worldeval.runs.finding import DRIVEN, RunState


def line(run: RunState) -> dict[str, object]:
    """Return a run as a row of the table."""
    return {
        "run": run.name,
        "status": run.status,
        "best policy": run.best or "",
        "episodes": run.episodes,
        "done": run.progress,
        "time": seconds(run.seconds) if run.seconds is not None else "",
        "CPU time per episode": seconds(run.each) if run.each is not None else "",
        "changed": datetime.fromtimestamp(run.changed) if run.changed else None,
        "note": run.detail,
    }


def opened() -> None:
    """Select the run of the row that was clicked; called before the page is redrawn."""
    rows = st.session_state["runs_table"]["selection"]["rows"]
    if rows:
        st.session_state["picked"] = st.session_state["runs"][rows[0]].name
        st.session_state["open"] = True


if st.session_state.pop("open", False):
    run = st.session_state["run"]
    st.switch_page("rollouts.py" if run.status == DRIVEN else "ranking.py")
st.header("Runs")
if not st.session_state["runs"]:
    st.stop()
table = pd.DataFrame([line(run) for run in st.session_state["runs"]])
st.dataframe(
    table.dropna(axis=1, how="all"),
    hide_index=True,
    column_config={
        "note": st.column_config.TextColumn(width=420),
        "done": st.column_config.ProgressColumn(
            format="percent", min_value=0, max_value=1, color="blue"
        ),
        "changed": st.column_config.DatetimeColumn(format="distance"),
    },
    on_select=opened,
    selection_mode="single-row",
    key="runs_table",
)
st.caption("Select a row to open the run. Refresh the page to update runs under way.")
if st.button("Read again", icon=":material/refresh:"):
    st.rerun()
