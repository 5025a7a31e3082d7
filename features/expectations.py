"""The gate before a feature table: a Great Expectations suite made from a view's columns.

Nothing is written twice: kinds, nullability and limits come from `View.columns`. Lists are judged by two derived
columns, `length(x)` and `non_finite(x)`, because Great Expectations knows no list columns. A failed expectation raises;
the rows that failed are kept in `<home>/quarantine/<view>/`, and every run leaves its page in `<home>/docs`.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import datadocs
from features.view import View
from infra.errors import DataError
from infra.settings import settings

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult

_TYPES = {str: ["str"], bool: ["bool", "bool_"], int: ["int64"], float: ["float64"]}
_CLOCK_SKEW = timedelta(minutes=1)


def check(view: View, rows: pa.Table, now: datetime | None = None) -> None:
    """Judge `rows` (the schema of `features.table`) by the suite of `view`; writes the page of data docs.

    Raises DataError naming the first failed expectation and rows, and where the failed rows are kept.
    """
    moment = now or datetime.now(UTC)
    result = _validate(view, rows, moment)
    page = datadocs.write(view.name, result, moment)
    failed = [outcome for outcome in result.results if not outcome.success]
    if not failed:
        return
    kept, count = _quarantine(view, rows, failed, moment)
    others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    raise DataError(
        f"view {view.name}: {_name(failed[0])} failed{others}; {_first(rows, failed[0])}; "
        f"{count} rows are kept in {kept}, the whole report is {page}"
    )


def suite(view: View, now: datetime) -> ExpectationSuite:
    """The expectations of `view`; `now` is what no row's time may exceed by more than the skew of two clocks."""
    gx = _gx()
    from great_expectations import expectations as expect

    found: list[Any] = [
        expect.ExpectTableRowCountToBeBetween(min_value=1),
        expect.ExpectCompoundColumnsToBeUnique(column_list=[view.entity, "time"]),
        expect.ExpectColumnValuesToNotBeNull(column="dataset"),
        expect.ExpectColumnValuesToNotBeNull(column="time"),
        expect.ExpectColumnValuesToBeBetween(column="time", max_value=now + _CLOCK_SKEW),
    ]
    for name, (kind, nullable) in view.columns.kinds().items():
        if not nullable:
            found.append(expect.ExpectColumnValuesToNotBeNull(column=name))
        limits = _limits(view, name)
        if kind in (list[float], list[str]):
            if "min_value" in limits or "max_value" in limits:
                found.append(expect.ExpectColumnValuesToBeBetween(column=f"length({name})", **limits))
            if kind == list[float]:
                found.append(expect.ExpectColumnValuesToBeBetween(column=f"non_finite({name})", max_value=0))
            continue
        types = _TYPES[kind] + (["float64"] if kind is int and nullable else [])
        found.append(expect.ExpectColumnValuesToBeInTypeList(column=name, type_list=types))
        if kind is str and limits:
            found.append(expect.ExpectColumnValueLengthsToBeBetween(column=name, **limits))
        elif kind is float or limits:
            finite = {"min_value": -sys.float_info.max, "max_value": sys.float_info.max} if kind is float else {}
            found.append(expect.ExpectColumnValuesToBeBetween(column=name, **(finite | limits)))
    return gx.ExpectationSuite(view.name, expectations=found)


def _limits(view: View, name: str) -> dict[str, Any]:
    """A column's ge, gt, le, lt, min_length and max_length in the words of Great Expectations."""
    words = {
        "ge": ("min_value", None),
        "gt": ("min_value", "strict_min"),
        "le": ("max_value", None),
        "lt": ("max_value", "strict_max"),
        "min_length": ("min_value", None),
        "max_length": ("max_value", None),
    }
    limits: dict[str, Any] = {}
    for mark in view.columns.model_fields[name].metadata:
        for word, (limit, strict) in words.items():
            if (value := getattr(mark, word, None)) is not None:
                limits |= {limit: value} | ({strict: True} if strict else {})
    return limits


def _validate(view: View, rows: pa.Table, now: datetime) -> ExpectationSuiteValidationResult:
    gx = _gx()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("features").add_dataframe_asset(view.name)
    batch = asset.add_batch_definition_whole_dataframe("candidate")
    definition = gx.ValidationDefinition(name=view.name, data=batch, suite=context.suites.add(suite(view, now)))
    parameters = {"dataframe": _judged(view, rows)}
    return context.validation_definitions.add(definition).run(
        batch_parameters=parameters, result_format={"result_format": "COMPLETE"}
    )


def _judged(view: View, rows: pa.Table) -> Any:
    """The frame that is judged: scalars as they are, lists by their lengths and their values that are no numbers."""
    columns: dict[str, pa.ChunkedArray | pa.Array] = {"dataset": rows["dataset"], "time": rows["time"]}
    for name, (kind, _) in view.columns.kinds().items():
        values = rows[name]
        if kind in (list[float], list[str]):
            columns[name] = pc.if_else(pc.is_null(values), None, True)  # only whether it is there
            length = pc.list_value_length(values).cast(pa.int64())  # of 32 bits they are compared one by one
            columns[f"length({name})"] = length
            if kind == list[float]:
                columns[f"non_finite({name})"] = _non_finite(values.combine_chunks())
        else:
            columns[name] = values
    return pa.table(columns).to_pandas()


def _non_finite(lists: pa.ListArray) -> pa.Array:
    """How many elements of each list are null, NaN or infinite."""
    wrong = pc.invert(pc.fill_null(pc.is_finite(lists.flatten()), False))
    parents = pc.list_parent_indices(lists).filter(wrong)
    counts = pc.value_counts(parents)
    found = dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
    return pa.array([found.get(row, 0) for row in range(len(lists))] if found else [0] * len(lists), pa.int64())


def _quarantine(
    view: View, rows: pa.Table, failed: list[ExpectationValidationResult], now: datetime
) -> tuple[Path, int]:
    """Keep the failed rows, each with the names of the expectations that it failed; all rows where none is named."""
    reasons: dict[int, list[str]] = {}
    for outcome in failed:
        for row in outcome.result.get("unexpected_index_list") or range(len(rows)):
            reasons.setdefault(row, []).append(_name(outcome))
    order = sorted(reasons)
    kept = rows.take(pa.array(order, pa.int64())).append_column("failed", pa.array([reasons[row] for row in order]))
    file = settings().home / "quarantine" / view.name / f"{now:%Y%m%dT%H%M%S%fZ}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(kept, file)
    return file, len(order)


def _name(outcome: ExpectationValidationResult) -> str:
    config = outcome.expectation_config
    if config is None:
        return "an expectation without configuration"
    shown = {key: value for key, value in config.kwargs.items() if key != "batch_id"}
    return f"{config.type}({', '.join(f'{key}={value}' for key, value in shown.items())})"


def _first(rows: pa.Table, outcome: ExpectationValidationResult, shown: int = 3) -> str:
    if error := _raised(outcome):
        return f"it raised {error}"
    indices = outcome.result.get("unexpected_index_list") or []
    if not indices:
        return f"observed {outcome.result.get('observed_value')}"
    return "first rows: " + "; ".join(f"{index}: {rows.slice(index, 1).to_pylist()[0]}" for index in indices[:shown])


def _raised(outcome: ExpectationValidationResult) -> str | None:
    info = outcome.exception_info or {}
    return next((i.get("exception_message") for i in (info, *info.values()) if isinstance(i, dict)), None)


def _gx() -> Any:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations

    return great_expectations
