"""Page: every run of the folder, how far it is, and what it cost."""

from datetime import datetime

import pandas as pd
import streamlit as st

from worldeval.report.number import seconds
from worldeval.runs.finding import RunState


def line(run: RunState) -> dict[str, object]:
    """A run as a row."""
    return {
        "run": run.name,
        "status": run.status,
        "best policy": run.best or "",
        "episodes": run.episodes,
        "done": run.progress,
        "time": seconds(run.seconds) if run.seconds is not None else "",
        "CPU time an episode": seconds(run.each) if run.each is not None else "",
        "changed": datetime.fromtimestamp(run.changed) if run.changed else None,
        "note": run.detail,
    }


st.header("Runs")
if not st.session_state["runs"]:
    st.stop()
table = pd.DataFrame([line(run) for run in st.session_state["runs"]])
st.dataframe(
    table.dropna(axis=1, how="all"),
    hide_index=True,
    column_config={
        "done": st.column_config.ProgressColumn(
            format="percent", min_value=0, max_value=1, color="blue"
        ),
        "changed": st.column_config.DatetimeColumn(format="distance"),
    },
)
st.caption("Pick a run in the sidebar. Runs under way are read again whenever the page is.")
if st.button("Read again", icon=":material/refresh:"):
    st.rerun()
