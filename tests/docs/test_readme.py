"""The numbers in README are those of `benchmarks/results/`, and it fits its first screens."""

import json
import re
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import ExifTags, Image

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
RANKING = json.loads((ROOT / "benchmarks/results/ranking.json").read_text())
DEMO = json.loads((ROOT / "benchmarks/results/demo.json").read_text())
IMPROVED = json.loads((ROOT / "benchmarks/results/improve.json").read_text())


def cells(row: str) -> list[str]:
    """The cells of the table row that begins with `row`."""
    line = next(line for line in README.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def rounded(value: float, digits: int = 3) -> str:
    """As README writes numbers below 1: `.971`."""
    return f"{value:.{digits}f}".removeprefix("0")


def interval(estimate: dict[str, float]) -> str:
    low, high = (rounded(estimate[end], 2).replace("1.00", "1.0") for end in ("low", "high"))
    return f"{rounded(estimate['value'], 2)} [{low}, {high}]"


def test_the_best_five_are_those_of_the_demo() -> None:
    for place, row in enumerate(DEMO["policies"][:5], start=1):
        assert cells(str(place)) == [
            row["policy"],
            interval(row["predicted"]),
            row["letters"],
            rounded(row["probability_best"], 2),
            rounded(row["truth"]["value"], 2),
        ]
    missed = [
        max(row["predicted"]["low"] - row["truth"]["value"], row["truth"]["value"] -
            row["predicted"]["high"])
        for row in DEMO["policies"]
    ]  # fmt: skip
    out = sorted((each for each in missed if each > 0), reverse=True)
    said = f"{len(missed) - len(out)} of the {len(missed)} hold the"
    assert said in README and len(out) == 2
    assert "two miss it by less than .001" in README and max(out) < 0.001


def test_the_pictures_show_the_numbers_of_the_demo() -> None:
    """Both pictures keep in their file what they show."""
    with Image.open(ROOT / "docs/demo.png") as picture:
        shown = json.loads(picture.text["Description"])  # type: ignore[attr-defined]
    assert [(row["policy"], row["predicted"], row["measured"]) for row in shown] == [
        (row["policy"], row["predicted"]["value"], row["truth"]["value"])
        for row in DEMO["policies"]
    ]
    with Image.open(ROOT / "docs/demo.webp") as picture:
        worse, better = json.loads(picture.getexif()[ExifTags.Base.ImageDescription])
        assert picture.n_frames > 20 and picture.info["loop"] == 0  # type: ignore[attr-defined]
    assert worse["start"] == better["start"]
    assert better["probability"] > 0.9 > 0.1 > worse["probability"]
    assert (worse["success"], better["success"]) == (False, True)
    assert {worse["policy"], better["policy"]} <= {row["policy"] for row in shown}
    assert (ROOT / "docs/demo.webp").stat().st_size < 3 * 2**20


def test_the_badges_say_what_the_package_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    badges = re.findall(r"img\.shields\.io/badge/([^)]+)\)", README)
    said = [unquote(badge).replace("--", "~").split("-")[:2] for badge in badges]
    assert [[part.replace("~", "-") for part in badge] for badge in said] == [
        ["license", project["license"]],
        ["python", project["requires-python"].removeprefix(">=") + "+"],
    ]


def test_the_first_screen_has_sentence_animation_example_commands_and_table() -> None:
    lines = README.splitlines()
    places = [
        next(number for number, line in enumerate(lines) if line.startswith(begin))
        for begin in ("**", "![", "```python", "    git clone", "| # |")
    ]
    assert places == sorted(places) and places[-1] < 32
    code = README.partition("```python\n")[2].partition("```")[0]
    assert len(code.strip().splitlines()) == 6  # an empty line among them


@pytest.mark.parametrize(
    ("row", "measure"),
    [
        ("Pearson, policy means", "pearson"),
        ("Spearman, policy means", "spearman"),
        ("MMRV (0 is best)", "mmrv"),
    ],
)
def test_agreement_is_that_of_the_results(row: str, measure: str) -> None:
    imagined, ceiling, validation = cells(row)
    found = RANKING["agreement"]
    assert imagined.split()[0] == rounded(found[measure]["value"])
    assert ceiling == rounded(found["ceiling"][measure]["value"])
    assert validation == rounded(RANKING["baselines"]["log_validation_mse"][measure])


def test_errors_and_gates_are_those_of_the_results() -> None:
    said = {
        "Spearman within task": RANKING["within_task_spearman"],
        "absolute error of one policy on one task": RANKING["cell_mae"],
        "recorded failures that are replayed as successes": RANKING["gates"]["false_success"][
            "value"
        ],
    }
    assert {row: cells(row)[0].split()[0] for row in said} == {
        row: rounded(value) for row, value in said.items()
    }


@pytest.mark.parametrize("method", ["sft", "rl"])
def test_improvements_are_those_of_the_results(method: str) -> None:
    rows = [row for row in IMPROVED["rows"] if row["method"] == method]
    assert len(rows) == 4
    for row in rows:
        said = cells(row["task"].removesuffix("-v3"))
        assert said[0] == rounded(row["before"]["value"], 2)
        assert said[1 if method == "sft" else 2] == rounded(row["after"]["value"], 2)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 130


def test_every_file_that_it_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links and not [link for link in links if not (ROOT / link).exists()]
