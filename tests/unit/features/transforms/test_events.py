"""What a CloudEvent carries is read, or named as wrong."""

from types import SimpleNamespace

import pytest

from features.transforms import _events
from infra.errors import DataError


def _event(data: object) -> SimpleNamespace:
    return SimpleNamespace(id="e1", dataset="d", data=data)


def test_the_object_is_read() -> None:
    assert _events.content(_event('{"a": null, "b": 1}'), ("a", "b")) == {"a": None, "b": 1}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("{", "is not JSON"),
        (None, "is not JSON"),
        (float("nan"), "is not JSON"),
        ("[1]", "must be a JSON object with a, b"),
        ('{"b": 1}', "must be a JSON object with a, b; it lacks a"),
    ],
)
def test_what_is_wrong_is_named(data: object, problem: str) -> None:
    with pytest.raises(DataError, match=f"event 'e1' of d: data {problem}"):
        _events.content(_event(data), ("a", "b"))


def test_null_is_no_content_where_it_must_be_filled() -> None:
    with pytest.raises(DataError, match="it lacks a"):
        _events.content(_event('{"a": null}'), ("a",), filled=True)
