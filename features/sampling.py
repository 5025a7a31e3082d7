"""Head sampling of traces: which spans enter, decided by the trace's id alone, so that a trace is whole or absent.

OpenTelemetry's consistent probability sampling (specification, "TraceState: Probability Sampling"): the low 56
bits of the trace id are its random value, and a trace is kept when that is not below the threshold (1 - ratio) * 2^56.
Every process with the same or a larger ratio keeps the same traces.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from infra.settings import settings

_DIGITS = 14  # hexadecimal digits of 56 bits


def admitted(table: str, rows: pa.Table) -> pa.Table:
    """The rows of canonical `table` that enter: of spans the share `ingestion.trace_sampling`, of all else all."""
    return sample(rows, settings().ingestion.trace_sampling) if table == "spans" else rows


def sample(spans: pa.Table, ratio: float) -> pa.Table:
    """The spans of the traces that `ratio` keeps, and of every trace with an error among these rows.

    What came before a trace's first error was decided without it: that is the price of deciding at the head. A span
    without a trace id of at least 56 bits has no trace to be consistent with, and is kept.
    """
    if ratio >= 1:
        return spans
    trace = pc.utf8_lower(spans["trace_id"])
    chance = pc.utf8_slice_codeunits(trace, -_DIGITS)
    named = pc.fill_null(pc.match_substring_regex(trace, f"^[0-9a-f]{{{_DIGITS},}}$"), False)
    failed = pc.fill_null(pc.match_substring_regex(pc.utf8_upper(spans["status_code"]), "(^|_)ERROR$"), False)
    in_error = pc.is_in(trace, value_set=pc.unique(trace.filter(pc.and_(failed, named))))
    kept = pc.or_(pc.invert(named), in_error)
    threshold = f"{round((1 - ratio) * 16**_DIGITS):0{_DIGITS}x}"
    if len(threshold) == _DIGITS:  # texts of equal length compare as their numbers do; a longer one is above them all
        kept = pc.or_(kept, pc.fill_null(pc.greater_equal(chance, threshold), False))
    return spans.filter(kept)
