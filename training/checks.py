"""Checks that stop a training whose figures would be a lie: leaks, duplicates, impossible values.

Each raises DataError naming the column and the rows, and says what would be right. They look at data; what views and
learners do with it is tried in `training.probes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from features.view import Columns
from infra.errors import DataError
from training import signature
from training.model import Fold, Spec

SHOWN = 5  # rows named in a message
SAMPLE = 200  # rows validated by pydantic itself, evenly spread; the vectorised checks see all
REPRODUCES = 0.9999  # |correlation| or rank agreement with the label from which a column *is* the label
FEW = 5  # positives or negatives below which agreement with the label proves nothing
SEEN = 0.01  # share of a panel's judged rows whose content may occur in the training part (idle days look alike)
_LIMITS = {"ge": np.less, "gt": np.less_equal, "le": np.greater, "lt": np.greater_equal}


def frame(spec: Spec, frame: pd.DataFrame) -> None:
    """All checks of a labelled frame before it is split. Raises DataError."""
    names(spec)
    values(spec, frame)
    duplicates(spec, frame)
    future_columns(spec, frame)
    label_copies(spec, frame)


def fold(spec: Spec, fold: Fold) -> None:
    """All checks of one split: no judged row, nor its content, nor its future is learnt from. Raises DataError."""
    train, test = fold.train, fold.test[fold.test[spec.label].notna()]
    if train.empty or test.empty:
        raise DataError(
            f"{fold.dataset}: a split has {len(train)} labelled rows to learn from and {len(test)} to judge"
        )
    shared_keys(spec, train, test)
    shared_content(spec, train, test)
    learnt_future(spec, train, test)


def keys(spec: Spec, frame: pd.DataFrame) -> pd.MultiIndex:
    """What makes a labelled row unique: (dataset, entity, time)."""
    return pd.MultiIndex.from_frame(frame[["dataset", spec.labels.entity, "time"]])


# -- the frame --------------------------------------------------------------------------------------------------------


def names(spec: Spec) -> None:
    """No column of the label's view is an input."""
    hidden = {spec.label, *spec.labels.columns.model_fields} - {"time", spec.labels.entity}
    if found := sorted(hidden & set(spec.row.model_fields)):
        raise DataError(
            f"column {found[0]!r} of the labels ({spec.labels.name}) is an input of {spec.row.__name__}; drop it there"
        )


def values(spec: Spec, frame: pd.DataFrame) -> None:
    """Every row is a valid Row: columns there, no null where none is allowed, finite, within the limits."""
    needed = [*spec.row.model_fields, "dataset", spec.labels.entity, spec.label]
    if missing := [name for name in needed if name not in frame]:
        raise DataError(f"column {missing[0]!r} is missing; the frame has {', '.join(map(str, frame.columns))}")
    for name, (kind, nullable) in spec.row.kinds().items():
        column = frame[name]
        if not nullable:
            _refuse(spec, frame, column.isna(), name, "null, and the row allows none")
        if kind in (int, float):
            number = pd.to_numeric(column, errors="coerce").astype(float)
            _refuse(spec, frame, number.isna() & column.notna(), name, "not a number")
            _refuse(spec, frame, np.isinf(number), name, "infinite")
            for limit, bound in _limits(spec.row, name):
                _refuse(spec, frame, _LIMITS[limit](number, bound), name, f"outside {limit} {bound:g}")
    for position in np.unique(np.linspace(0, len(frame) - 1, min(SAMPLE, len(frame))).astype(int)):
        _validate(spec, frame, position)


def duplicates(spec: Spec, frame: pd.DataFrame) -> None:
    """One row per data set, entity and time."""
    twice = pd.Series(keys(spec, frame).duplicated(keep=False), frame.index)
    _refuse(spec, frame, twice, spec.labels.entity, "more than one row for the same entity and time; keep one")


def future_columns(spec: Spec, frame: pd.DataFrame) -> None:
    """No time that travels with the inputs lies after the row's own time."""
    labels = set(spec.labels.columns.model_fields)
    for name in frame.select_dtypes(["datetime", "datetimetz"]).columns:
        if name not in labels | {"time"}:
            late = pd.to_datetime(frame[name], utc=True) > pd.to_datetime(frame["time"], utc=True)
            _refuse(spec, frame, late, name, "later than the row's time: the input was not known yet")


def label_copies(spec: Spec, frame: pd.DataFrame) -> None:
    """No single input reproduces the label: by correlation, by rank, by its categories or by being null.

    Of a label in words it is the commonest against all others, which whatever reproduces the label tells, too.
    """
    known = frame[frame[spec.label].notna()]
    kind = spec.labels.columns.kinds()[spec.label][0]
    if kind in (list[float], list[str]) or known.empty:
        return  # no single input is a list of what comes
    truth = known[spec.label] == known[spec.label].mode().iloc[0] if kind is str else known[spec.label]
    label = pd.to_numeric(truth, errors="coerce").astype(float)
    if label.isna().any() or min(label.value_counts(), default=0) < FEW or label.nunique() < 2:
        return
    for name, (kind, _) in spec.row.kinds().items():
        if name == spec.labels.entity:
            continue
        for how, column in _views_of(known[name], kind):
            if column.nunique() > 1 and _agreement(column, label) >= REPRODUCES:
                rows = told(spec, known, known.index[:SHOWN])
                raise DataError(f"column {name!r}{how} reproduces the label {spec.label!r} (rows {rows}); drop it")


# -- the split --------------------------------------------------------------------------------------------------------


def shared_keys(spec: Spec, train: pd.DataFrame, test: pd.DataFrame) -> None:
    """No judged (entity, time) is learnt from."""
    both = pd.Series(keys(spec, test).isin(keys(spec, train)), test.index)
    _refuse(spec, test, both, spec.labels.entity, "the same entity and time is also in the training part")


def shared_content(spec: Spec, train: pd.DataFrame, test: pd.DataFrame) -> None:
    """No judged content is learnt from: duplicates and rows resampled before the split are found by it.

    Where entities have one row each, none may be shared; where they have many, an idle entity repeats itself, and up to
    `SEEN` of the judged rows may.
    """
    inputs = [name for name in spec.row.model_fields if name not in ("time", spec.labels.entity)]
    learnt, judged = content(train[inputs]), content(test[inputs])
    seen = pd.Series(np.isin(judged, learnt), test.index)
    entities = pd.concat([train[spec.labels.entity], test[spec.labels.entity]])
    panel = entities.duplicated().any()
    if seen.mean() > (SEEN if panel else 0):
        _refuse(
            spec,
            test,
            seen,
            ", ".join(inputs[:3]) + " …",
            "the same content is also in the training part; "
            "remove duplicates before the split, resample only inside the training part",
        )


def learnt_future(spec: Spec, train: pd.DataFrame, test: pd.DataFrame) -> None:
    """An entity on both sides is learnt from before it is judged."""
    entity = ["dataset", spec.labels.entity]
    begin = test.groupby(entity)["time"].min().rename("judged_from").reset_index()
    joined = train[[*entity, "time"]].merge(begin, on=entity, how="left").set_axis(train.index)
    late = joined["judged_from"].notna() & (joined["time"] >= joined["judged_from"])
    _refuse(spec, train, late, "time", "a training row lies after a judged row of the same entity; split by time")


# -- helpers ----------------------------------------------------------------------------------------------------------


def _refuse(spec: Spec, frame: pd.DataFrame, bad: pd.Series | np.ndarray, column: str, problem: str) -> None:
    bad = np.asarray(bad, dtype=bool)
    if count := int(bad.sum()):
        raise DataError(f"column {column!r}: {problem}; {count} rows: {told(spec, frame, frame.index[bad][:SHOWN])}")


def told(spec: Spec, frame: pd.DataFrame, index: pd.Index) -> str:
    """The first of these rows as `index (entity, time)`, as far as the frame has these columns."""
    names = [name for name in (spec.labels.entity, "time") if name in frame]
    picked = frame.loc[frame.index.isin(index), names].head(SHOWN)
    return ", ".join(
        f"{i} ({', '.join(map(str, row))})" for i, row in zip(picked.index, picked.to_numpy(), strict=True)
    )


def _limits(row: type[Columns], name: str) -> Iterator[tuple[str, float]]:
    for item in row.model_fields[name].metadata:
        yield from ((limit, getattr(item, limit)) for limit in _LIMITS if getattr(item, limit, None) is not None)


def _validate(spec: Spec, frame: pd.DataFrame, position: int) -> None:
    try:
        [values] = signature.records(frame.iloc[[position]][list(spec.row.model_fields)])
        spec.row.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = told(spec, frame, frame.index[[position]])
        raise DataError(f"column {'.'.join(map(str, first['loc']))!r}: {first['msg']}; row {where}") from None


def _views_of(column: pd.Series, kind: type) -> Iterator[tuple[str, pd.Series]]:
    """The numbers a column can be read as: itself, its newest element, its length, its being null."""
    if column.isna().any():
        yield " (by being null)", column.isna().astype(float)
    if kind in (bool, int, float):
        yield "", pd.to_numeric(column, errors="coerce").astype(float)
    elif kind is str:
        yield "", column
    else:
        yield " (its length)", column.map(lambda items: len(items) if items is not None else 0).astype(float)
        newest = column.map(lambda items: items[-1] if items is not None and len(items) else np.nan)
        yield " (its newest element)", newest if kind == list[str] else newest.astype(float)


def _agreement(column: pd.Series, label: pd.Series) -> float:
    """1 when the label can be read off the column alone: |correlation|, or rank separation of a two-valued label."""
    known = column.notna()
    column, label = column[known], label[known]
    if label.nunique() < 2 or known.mean() < 0.5:
        return 0.0
    if column.dtype == object:
        pure = label.groupby(column).transform("nunique").eq(1).all()
        return float(pure and column.nunique() <= len(column) / FEW)
    correlation = abs(np.corrcoef(column, label)[0, 1])
    if label.nunique() > 2:
        return float(correlation)
    high = label == label.max()
    ranks, positives, negatives = column.rank(), high.sum(), (~high).sum()
    area = (ranks[high].sum() - positives * (positives + 1) / 2) / (positives * negatives)  # Mann-Whitney
    return float(max(correlation, area, 1 - area))


def content(frame: pd.DataFrame) -> np.ndarray:
    """A 64-bit hash of each row's content; arrays included, 1 and 1.0 the same."""
    flat = pd.DataFrame({name: _hashable(column) for name, column in frame.items()}, index=frame.index)
    return pd.util.hash_pandas_object(flat, index=False).to_numpy()


def _hashable(column: pd.Series) -> pd.Series:
    if column.dtype != object:
        return column.astype(float) if column.dtype.kind in "iub" else column
    if column.map(lambda value: isinstance(value, (list, np.ndarray))).any():
        return column.map(_bytes)
    return (
        column.infer_objects().astype(float) if column.infer_objects().dtype.kind in "iub" else column.infer_objects()
    )


def _bytes(items: Any) -> bytes | None:
    """What a list or array holds; an array of objects would give where they lie in memory."""
    if items is None:
        return None
    values = np.asarray(items)
    return values.astype(float).tobytes() if values.dtype.kind in "iufb" else "\x1f".join(map(str, values)).encode()
