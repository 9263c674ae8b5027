"""JSON Schema of summary.json, for reading it with other tools.

`python -m worldeval.runs.schema` writes docs/summary.schema.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

from worldeval.files import whole_file
from worldeval.runs.files import adapter
from worldeval.runs.summary import SCHEMA_VERSION, Summary

PLACE = Path(__file__).parents[2] / "docs" / "summary.schema.json"


def summary_schema() -> dict[str, Any]:
    """Build the JSON Schema (draft 2020-12) of a run's summary."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **adapter(Summary).json_schema(),
        "description": f"summary.json of a worldeval run, schema version {SCHEMA_VERSION}.",
    }


def text() -> str:
    """Return the text of the schema file."""
    return json.dumps(summary_schema(), indent=2) + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PLACE
    with whole_file(target) as draft:
        draft.write_text(text())
    print(target)
