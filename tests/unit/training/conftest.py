"""The tiny model and its data."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest

from tests.models import tiny
from training import catalog
from training.model import Model


@pytest.fixture
def model() -> Iterator[Model]:
    with tiny.plugged_in() as name:
        yield catalog.make(name)


@pytest.fixture
def frame() -> pd.DataFrame:
    return tiny.frame()
