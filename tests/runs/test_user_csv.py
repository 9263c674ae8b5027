"""CSV files of people and spreadsheets: read where one reading is possible, else refused."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from worldeval.errors import UserError
from worldeval.runs.tables import read_outcomes

PLAIN = "policy,task,start,success\na,open,0,1\na,open,1,0\nb,open,0,1\nb,open,1,1\n"


def outcomes(path: Path, content: str | bytes):
    file = path / "trials.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_outcomes(file)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace("\n", ",\n"),  # a trailing comma on every line
        PLAIN.replace("\na", ",,\na"),  # on some lines
        "policy,task,start,success\n" + PLAIN.partition("\n")[2].replace("\n", ",\n"),  # on rows
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.replace("policy,task,start,success", "Policy, TASK ,Start,Success"),
        PLAIN.replace(",1\n", ",yes\n").replace("a,open,1,0", "a,open,1,No"),
        PLAIN.replace(",1\n", ",Success\n").replace("a,open,1,0", "a,open,1,Failure"),
        PLAIN.replace("open,0", "open,0.0").replace("a,open,1", "a,open,1.0"),  # 1 and 1.0
        PLAIN + "\n,,,\n",  # blank lines at the end
        PLAIN.replace("b,open,0,1", "\ufeffb,open\u200b,\xa00,1"),  # signs that nobody sees
        'policy,task,start,success,note\na,open,0,1,"one; two"\na,open,1,0,\nb,open,0,1,\nb,open,1,1,x',  # noqa: E501
    ],
)  # fmt: skip
def test_one_table_in_many_forms(tmp_path: Path, content: str | bytes) -> None:
    found = outcomes(tmp_path, content)
    assert (found.policies, found.tasks) == (("a", "b"), ("open",))
    assert found.start == ("0", "1", "0", "1")
    assert found.value.tolist() == [1, 0, 1, 1] and found.binary


@pytest.mark.parametrize("name", ["Käse", "crème brûlée", "ﬁne-tuned é"])
def test_names_that_differ_only_in_normalisation_are_one(tmp_path: Path, name: str) -> None:
    composed, apart = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert composed != apart
    rows = f"policy,task,start,success\n{composed},open,0,1\n{apart},open,1,0\n"
    assert outcomes(tmp_path, rows).policies == (composed,)


def test_the_first_column_is_no_index(tmp_path: Path) -> None:
    """pandas takes it for one where rows have a cell more than the header."""
    rows = "policy,task,start,success\na,open,0,1,\nb,open,0,0,\n"
    assert outcomes(tmp_path, rows).policies == ("a", "b")


def test_decimal_commas_of_a_spreadsheet(tmp_path: Path) -> None:
    rows = "policy;task;start;score\na;open;0;0,25\na;open;1;1\nb;open;0;,5\n"
    assert outcomes(tmp_path, rows).value.tolist() == [0.25, 1, 0.5]


def test_names_that_look_like_numbers_stay(tmp_path: Path) -> None:
    rows = "policy,task,start,success\n010,1.0,0,1\n1e5,1.0,0,0\nNA,1.0,0,0\n"
    found = outcomes(tmp_path, rows)
    assert found.policies == ("010", "1e5", "NA") and found.tasks == ("1.0",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (PLAIN.replace("start,success", "success,success"), "columns 3 and 4 are both called"),
        (PLAIN.replace("start,success", "Success,success"), "columns 3 and 4 are both called"),
        (PLAIN.replace("a,open,1,0", "a,open,1,0,9"), "line 3 has 5 cells, but the header has 4"),
        (PLAIN.replace("a,open,1,0", "a,open,1"), "line 3 has 3 cells, but the header has 4"),
        (PLAIN.replace("policy,task", "policy,,task"), "column 2 has no name"),
        (PLAIN.replace("a,open,1,0", 'a,"open,1,0'), "quotation mark"),
        (PLAIN.replace("a,open,1,0", "a,open,1,"), "line 3: success '' is empty"),
        (PLAIN.replace("a,open,1,0", "a,open,1,maybe"), "line 3: success 'maybe' is not a number"),
        ("\n" + PLAIN.replace("a,open,1,0", "a,open,1,2"), "line 4: success is 2"),
        (PLAIN.replace("b,open,1,1", "b,open,0.0,1"), "line 5 repeats .*line 4"),
        (PLAIN.encode().replace(b"open", b"\xe9t\xe9"), "Save it as 'CSV UTF-8'"),
        (PLAIN.replace("success", "succes"), "neither 'success' nor 'score'"),
        (PLAIN.replace("success", "success,score").replace("\na", ",\na"), "line 3 has 4 cells"),
        ("", "is empty"),
        (b"\0\1\2\3" * 50, "Save it as 'CSV UTF-8'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, content, says: str) -> None:
    with pytest.raises(UserError, match=says):
        outcomes(tmp_path, content)


def test_two_forms_give_the_same_numbers(tmp_path: Path) -> None:
    one, other = outcomes(tmp_path, PLAIN), outcomes(tmp_path, PLAIN.replace(",", ";"))
    assert np.array_equal(one.value, other.value) and one.start == other.start
