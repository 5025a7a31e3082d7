"""What a CloudEvent carries: the JSON object in its `data`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from infra.errors import DataError


def content(event: Any, needed: Sequence[str] = (), filled: bool = False) -> dict[str, Any]:
    """The data of a row of `events`. `needed`: keys that must be there, and not null where they must be `filled`.

    Raises DataError naming the event and what its data lacks.
    """
    where = f"event {event.id!r} of {event.dataset}"
    try:
        data = json.loads(event.data)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: data is not JSON ({error})") from None
    if not isinstance(data, dict):
        raise DataError(f"{where}: data must be a JSON object{_with(needed)}")
    if missing := [name for name in needed if (data.get(name) is None if filled else name not in data)]:
        raise DataError(f"{where}: data must be a JSON object{_with(needed)}; it lacks {', '.join(missing)}")
    return data


def _with(needed: Sequence[str]) -> str:
    return f" with {', '.join(needed)}" if needed else ""
