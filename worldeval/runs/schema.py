"""JSON Schemas of summary.json and passport.json, for reading them with other tools.

`python -m worldeval.runs.schema` writes docs/summary.schema.json and docs/passport.schema.json.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldeval.files import whole_file
from worldeval.runs import passport
from worldeval.runs.files import adapter
from worldeval.runs.passport import Passport
from worldeval.runs.summary import SCHEMA_VERSION, Summary

DOCS = Path(__file__).parents[2] / "docs"
PLACE, PASSPORT_PLACE = DOCS / "summary.schema.json", DOCS / "passport.schema.json"
DRAFT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}


def summary_schema() -> dict[str, Any]:
    """Build the JSON Schema (draft 2020-12) of a run's summary."""
    return {
        **DRAFT,
        **adapter(Summary).json_schema(),
        "description": f"summary.json of a worldeval run, schema version {SCHEMA_VERSION}.",
    }


def passport_schema() -> dict[str, Any]:
    """Build the JSON Schema (draft 2020-12) of a passport."""
    return {
        **DRAFT,
        **adapter(Passport).json_schema(),
        "description": f"passport.json of a worldeval judge and world model, schema version "
        f"{passport.SCHEMA_VERSION}.",
    }


def text(schema: Mapping[str, Any] | None = None) -> str:
    """Return the text of a schema file; by default that of the summary."""
    return json.dumps(summary_schema() if schema is None else schema, indent=2) + "\n"


if __name__ == "__main__":
    for target, schema in ((PLACE, summary_schema()), (PASSPORT_PLACE, passport_schema())):
        with whole_file(target) as draft:
            draft.write_text(text(schema))
        print(target)
