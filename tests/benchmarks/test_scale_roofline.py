"""The tables of docs/gpus.md: they are what is computed."""

from pathlib import Path

import pytest
from scale_roofline import BEGIN, END, lines, measure, number, tables, training_lines, write_tables

from worldeval.files import read_object
from worldeval.recipe import available

ROOT = Path(__file__).parents[2]


def test_a_part_of_the_tables_comes_out_again() -> None:
    page = (ROOT / "docs/gpus.md").read_text()
    found = measure(["rssm-droid"])["recipes"]
    for line in [*lines(found), *training_lines(found)]:
        assert line in page


def test_the_page_shows_the_stored_numbers_of_every_recipe() -> None:
    page = (ROOT / "docs/gpus.md").read_text()
    rows = read_object(ROOT / "benchmarks/results/scale.json")["roofline"]["recipes"]
    assert [row["recipe"] for row in rows] == [path.stem for path in available("model")]
    assert tables(rows) in page
    assert "Measured: none yet" in page


def test_only_the_tables_of_a_page_are_replaced(tmp_path: Path) -> None:
    rows = read_object(ROOT / "benchmarks/results/scale.json")["roofline"]["recipes"][:1]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_tables(page, rows)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert rows[0]["recipe"] in text


@pytest.mark.parametrize(
    ("value", "said"), [(1234.4, "1,234"), (12.345, "12.3"), (0.01234, "0.0123"), (0.0, "0")]
)
def test_numbers_have_three_digits(value: float, said: str) -> None:
    assert number(value) == said
