"""Options of how work is spread: what does not go together is refused, in words."""

import pytest

from worldeval.api.spread import evaluation_options
from worldeval.errors import UserError


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_shards": 2, "shard_index": 2}, "the parts are 0 to 1"),
        ({"allocate": "halvings"}, "Did you mean 'halving'"),
        ({"workers": 2}, "--ray auto"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        evaluation_options(**options)


def test_options_become_fields() -> None:
    fields = evaluation_options(num_shards=3, shard_index=1, budget_minutes=2.0, redo_changed=True)
    assert (fields["shard"].index, fields["shard"].count) == (1, 3)
    assert fields["spending"].minutes == 2.0 and fields["spending"].by_turns
    assert fields["crew"] is None and fields["redo_changed"]
