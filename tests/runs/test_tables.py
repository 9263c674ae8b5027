# pandas types a cell as anything that a table may hold.
# pyright: reportGeneralTypeIssues=false
"""Tables of a run: names stay names, formulas stay text, bad rows are refused."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldeval.errors import UserError
from worldeval.runs.checksums import beside
from worldeval.runs.tables import read_outcomes, read_side, read_table, write_table


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
            r"line 3: policy 'a' has lineage 'y', but 'x' above",
        ),
    ],
)
def test_refuses_by_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_outcomes(csv(tmp_path, text))


NAMES = [
    "010000",
    "1e5",
    "NA",
    "None",
    "true",
    "nan",
    "-3",
    "=1+1",
    "+x",
    "@sum",
    "'=x",
    "a b",
    "é",
]


def test_names_that_look_like_something_else_keep_their_names(tmp_path: Path) -> None:
    rows = {"policy": NAMES, "task": "NA", "start": NAMES, "lineage": "007", "score": 0.1}
    path = tmp_path / "t.csv"
    write_table(path, pd.DataFrame(rows))
    found = read_table(path)
    assert list(found["policy"]) == list(found["start"]) == NAMES
    assert set(found["task"]) == {"NA"} and set(found["lineage"]) == {"007"}
    assert read_outcomes(path).policies == tuple(NAMES)


@settings(max_examples=40)
@given(names=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1))
def test_every_name_comes_back(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("t") / "t.csv"
    write_table(path, pd.DataFrame({"policy": names, "step": 1}))
    assert list(read_table(path)["policy"]) == names


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1+2", "@x", "\t=1"])
def test_no_spreadsheet_runs_a_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "t.csv"
    write_table(path, pd.DataFrame({"policy": [name], "score": [-0.5]}))
    cell = pd.read_csv(path, dtype=str)["policy"][0]
    assert cell == f"'{name}"
    assert read_table(path)["score"][0] == -0.5


def test_numbers_come_back_to_the_last_bit(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1 / 3, 5e-324, 0.9999999999999999]
    path = tmp_path / "t.csv"
    write_table(path, pd.DataFrame({"score": values, "seed": [1, 2, 2**59, 4]}))
    found = read_table(path)
    assert list(found["score"]) == values
    assert list(found["seed"]) == [1, 2, 2**59, 4] and found["seed"].dtype == int


def test_what_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbfpolicy,task,start,success\r\n'=a,t,0,1\r\n")
    assert read_outcomes(path).policies == ("=a",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a readable CSV"),
        (b"policy,score\n\xff\xfe,1\n", "not a readable CSV"),
        (b"policy,score\na,1,2\n", "more cells than its header"),
        (b"policy,score\na,.5\nb,high\n", "line 3: score 'high' is not a number"),
        (b"policy,step\na,0\n", "has no column score"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=says) as error:
        read_table(path, needed=("policy", "score"))
    assert "\n" not in str(error.value)


def test_imagined_seeds_are_whole_numbers(tmp_path: Path) -> None:
    write_table(tmp_path / "outcomes/imagined.csv", pd.DataFrame({"seed": ["x"]}))
    with pytest.raises(UserError, match="whole numbers"):
        read_side(tmp_path, "imagined", needed=("seed",))


def test_a_changed_digit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_table(path, pd.DataFrame({"policy": ["a"], "success": [1]}))
    path.write_bytes(path.read_bytes().replace(b"a,1", b"a,0"))
    with pytest.raises(UserError, match="differs from its checksum"):
        read_table(path)
    beside(path).unlink()  # as a person does who means it, and as older versions wrote it
    assert read_table(path)["success"][0] == 0
