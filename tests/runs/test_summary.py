"""summary.json: what is written is read, what does not fit is one line, the schema is published."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.synthetic_run import RATES, synthetic_run
from worldeval.errors import UserError
from worldeval.runs.schema import PLACE, summary_schema, text
from worldeval.runs.summary import (
    SCHEMA_VERSION,
    find_summary,
    ranking_summary,
    read_summary,
    write_summary,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_run(tmp_path_factory.mktemp("runs") / "demo", films=False)


def test_a_summary_is_read_key_by_key(run: Path) -> None:
    raw = json.loads((run / "summary.json").read_text())
    found = read_summary(run)
    assert found.schema_version == SCHEMA_VERSION
    assert (found.policies, found.episodes) == (len(RATES), raw["episodes"])
    assert found.ranking is not None and found.truth is not None and found.agreement is not None
    best = found.ranking.policies[0]
    assert best.policy == "bc-all@2400"
    assert best.estimate.record() == {
        key: raw["ranking"]["policies"][0][key] for key in best.estimate.record()
    }
    assert (
        found.ranking.comparisons[0].difference.to_json()
        == (raw["ranking"]["comparisons"][0]["difference"])
    )
    assert found.agreement.spearman is not None
    assert found.agreement.spearman.to_json() == raw["agreement"]["spearman"]
    assert found.gates["false_success"].n == raw["gates"]["false_success"]["n"]
    assert found.baselines == raw["baselines"]
    assert [each.code for each in found.all_findings] == [f["code"] for f in raw["findings"]]


def test_no_key_of_the_file_is_lost_by_the_types(run: Path) -> None:
    """A key that the writer adds and the types lack would be read by nobody."""

    def unknown(content: Any, schema: Any, at: str = "") -> list[str]:
        schema = (
            summary_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
            if "$ref" in schema
            else schema
        )
        for choice in schema.get("anyOf", ()):
            if isinstance(content, dict) == ("$ref" in choice or choice.get("type") == "object"):
                return unknown(content, choice, at)
        if isinstance(content, list):
            return [u for item in content for u in unknown(item, schema.get("items", {}), at)]
        if not isinstance(content, dict):
            return []
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        return [
            u
            for key, value in content.items()
            for u in (
                unknown(value, known.get(key) or others, f"{at}/{key}")
                if key in known or others
                else [f"{at}/{key}"]
            )
        ]

    assert unknown(json.loads((run / "summary.json").read_text()), summary_schema()) == []


def test_the_published_schema_is_up_to_date_and_fits(run: Path) -> None:
    assert PLACE.read_text() == text(), "write it anew: python -m worldeval.runs.schema"
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(json.loads((run / "summary.json").read_text()), summary_schema())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "not readable JSON"),
        (b"[]", "must contain a JSON object, but contains list"),
        (b"\xff\xfe{}", "not readable JSON"),
        (b'{"ranking": ' * 100_000, "not readable JSON: recursion limit"),
        (b'{"episodes": "four"}', "'episodes' is 'four'"),
        (b'{"ranking": ["what"]}', "'ranking' is"),
        (b'{"ranking": {"policies": [{"rank": 1}]}}', "has no key 'ranking.policies.0.policy'"),
        (b'{"gates": {"false_success": {"value": NaN}}}', "finite number"),
        (b'{"findings": [{"code": 3}]}', "findings.0.code"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "summary.json").write_bytes(content)
    with pytest.raises(UserError, match=r"summary\.json") as error:
        read_summary(tmp_path)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_keys_of_a_newer_version_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"schema_version": 9, "episodes": 4, "new": [1]}')
    assert read_summary(tmp_path).episodes == 4


def test_where_there_is_none(tmp_path: Path) -> None:
    assert find_summary(tmp_path) is None
    with pytest.raises(UserError, match=r"contains no summary\.json"):
        read_summary(tmp_path)


def test_what_does_not_fit_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'policies' is 'five'"):
        write_summary(tmp_path, {"policies": "five"})
    assert not (tmp_path / "summary.json").exists()
    assert write_summary(tmp_path, {"episodes": 3, "headline": None}).episodes == 3
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "schema_version": SCHEMA_VERSION,
        "episodes": 3,
        "headline": None,
    }


def test_a_ranking_of_another_run_is_read_alike(run: Path) -> None:
    raw = json.loads((run / "summary.json").read_text())["ranking"]
    assert ranking_summary(raw) == read_summary(run).ranking
