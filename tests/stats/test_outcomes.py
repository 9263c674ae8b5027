"""Bad tables are refused by row."""

from pathlib import Path

import pandas as pd
import pytest

from worldeval.errors import UserError
from worldeval.stats import from_frame, read_outcomes


def csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(text)
    return path


def test_reads_a_table(tmp_path: Path) -> None:
    text = "policy,task,start,success,lineage,step\nb,open,1,1,run,100\na,open,1,False,run,50\n"
    found = read_outcomes(csv(tmp_path, text))
    assert found.policies == ("b", "a")
    assert found.value.tolist() == [1.0, 0.0]
    assert found.binary
    assert found.lineage == {"b": "run", "a": "run"}
    assert found.step == {"b": 100.0, "a": 50.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policy,task,success\n", "no column 'start'"),
        ("policy,task,start\n", "neither 'success' nor 'score'"),
        ("policy,task,start,score,success\n", "both 'success' and 'score'"),
        ("policy,task,start,score\n", "no rows"),
        ("policy,task,start,score\na,t,0,.5\na,t,1,1.5\n", r"line 3: score is 1.5"),
        ("policy,task,start,score\na,t,0,nan\n", r"line 2: score is nan"),
        ("policy,task,start,score\na,t,0,high\n", r"line 2: score 'high' is not a number"),
        ("policy,task,start,success\na,t,0,.5\n", r"line 2: success is .5; it must be 0 or 1"),
        ("policy,task,start,success\na,t,0,1\na,,1,1\n", r"line 3: 'task' is empty"),
        ("policy,task,start,success\na,t,0,1\na,t,0,1\n", r"line 3 repeats .*line 2"),
        ("policy,task,start,success,seed\na,t,0,1,7\na,t,0,0,7\n", r"seed '7'"),
        (
            "policy,task,start,success,lineage\na,t,0,1,x\na,t,1,1,y\n",
            r"line 3: policy 'a' has lineage 'y', and 'x' above",
        ),
    ],
)
def test_refuses_by_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_outcomes(csv(tmp_path, text))


def test_trials_of_one_start_need_seeds() -> None:
    rows = [("a", "t", 0, seed, 1) for seed in range(3)]
    frame = pd.DataFrame(rows, columns=["policy", "task", "start", "seed", "success"])
    assert len(from_frame(frame)) == 3
    with pytest.raises(UserError, match="row 1 repeats table, row 0"):
        from_frame(frame.drop(columns="seed"))


def test_only_keeps_the_asked_order() -> None:
    frame = pd.DataFrame(
        {"policy": list("abab"), "task": list("ttuu"), "start": 0, "score": [0.1, 0.2, 0.3, 0.4]}
    )
    found = from_frame(frame).only(policies=("b", "a"), tasks=("u",))
    assert found.policies == ("b", "a")
    assert dict(zip(found.policy.tolist(), found.value.tolist(), strict=True)) == {1: 0.3, 0: 0.4}
    with pytest.raises(UserError, match="No policy 'c'"):
        from_frame(frame).only(policies=("c",))
