"""Page: every run of the folder, how far it is, and what it cost."""

import pandas as pd
import streamlit as st

from worldeval.report.number import seconds

st.header("Runs")
rows = [
    {
        "run": run.name,
        "status": run.status,
        "best policy": run.best or "",
        "episodes": run.episodes,
        "time": seconds(run.seconds) if run.seconds is not None else "",
        "note": run.detail,
    }
    for run in st.session_state["runs"]
]
st.dataframe(pd.DataFrame(rows), hide_index=True)
st.caption("Pick a run in the sidebar. Runs under way are read again whenever the page is.")
if st.button("Read again", icon=":material/refresh:"):
    st.rerun()
