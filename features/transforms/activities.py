"""Activities that may be threats, and what became known of each: flows, connections, sessions and API parameters.

An activity arrives as an OCSF record of table `network`, known by its `metadata_uid`; what OCSF has no field for stands
in `unmapped` under the names of `Activity`. Its verdict is a CloudEvent `VERDICT`. Each kind measures other things:

    flow        one bidirectional flow as a flow exporter sees it, with counts over the sensor's last 100 flows
    connection  one connection as an intrusion sensor sees it: the flow, the host's last two seconds, what was said
    session     what one account did on one host: logins, shells, files; no address and no traffic of others
    parameter   one value that a client sent to an API

What a kind does not measure is null. The same content is one activity however often it was recorded: the first counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pandas as pd
from pydantic import ConfigDict
from pydantic.config import JsonDict

from features.view import Columns, Frames, View, column
from infra.errors import DataError

VERDICT = "io.iacdharma.threat.verdict"
KINDS = ("flow", "connection", "session", "parameter")
NONE = "none"  # the threat of a benign activity
LONGEST = 16_384  # characters of a parameter
_EXAMPLE: JsonDict = {
    "time": "2000-01-01T00:00:00Z",
    "activity_id": "42",
    "kind": "parameter",
    "value": "1' or '1'='1",
}


def _number(description: str, unit: str = "1", **limits: Any) -> Any:
    return column(description, unit, ge=0, default=None, **limits)


def _share(description: str) -> Any:
    return _number(f"share of {description}", le=1)


class Activity(Columns):
    """What is known of one activity when it ends; null: this kind does not measure it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})
    activity_id: str = column("the activity", min_length=1)
    kind: str = column(f"what was seen: {', '.join(KINDS)}", min_length=1)
    value: str | None = column("the parameter's value, decoded", max_length=LONGEST, default=None)
    # flow, connection, session
    protocol: str | None = column("transport or network protocol", default=None)
    service: str | None = column("service at the destination, - for none recognised", default=None)
    state: str | None = column("how the connection went, in the sensor's own words", default=None)
    duration_s: float | None = _number("duration", "s")
    bytes_out: float | None = _number("bytes from source to destination", "By")
    bytes_in: float | None = _number("bytes from destination to source", "By")
    # flow
    packets_out: float | None = _number("packets from source to destination", "{packet}")
    packets_in: float | None = _number("packets from destination to source", "{packet}")
    packet_rate: float | None = _number("packets per second", "{packet}/s")
    ttl_out: float | None = _number("time to live of the source's packets", "{hop}", le=255)
    ttl_in: float | None = _number("time to live of the destination's packets", "{hop}", le=255)
    load_out: float | None = _number("throughput from source to destination", "bit/s")
    load_in: float | None = _number("throughput from destination to source", "bit/s")
    lost_out: float | None = _number("the source's packets sent again or dropped", "{packet}")
    lost_in: float | None = _number("the destination's packets sent again or dropped", "{packet}")
    gap_out_ms: float | None = _number("mean time between the source's packets", "ms")
    gap_in_ms: float | None = _number("mean time between the destination's packets", "ms")
    jitter_out_ms: float | None = _number("jitter of the source's packets", "ms")
    jitter_in_ms: float | None = _number("jitter of the destination's packets", "ms")
    window_out: float | None = _number("TCP window that the source advertised")
    window_in: float | None = _number("TCP window that the destination advertised")
    handshake_s: float | None = _number("duration of the TCP handshake", "s")
    syn_ack_s: float | None = _number("from SYN to SYN-ACK", "s")
    ack_s: float | None = _number("from SYN-ACK to ACK", "s")
    mean_bytes_out: float | None = _number("mean size of the source's packets", "By")
    mean_bytes_in: float | None = _number("mean size of the destination's packets", "By")
    http_depth: float | None = _number("position in the pipeline of HTTP requests")
    http_body_bytes: float | None = _number("size of the HTTP response's body", "By")
    http_methods: float | None = _number("flows with a GET or POST, this one's HTTP service")
    ftp_login: float | None = _number("FTP sessions with user and password")
    ftp_commands: float | None = _number("flows with a command in an FTP session")
    same_endpoints: float | None = _number("1: both ends have one address and port", le=1)
    recent_source_service: float | None = _number("last 100: same source and service", "{flow}")
    recent_destination_service: float | None = _number("last 100: same destination and service", "{flow}")
    recent_source: float | None = _number("last 100: same source", "{flow}")
    recent_destination: float | None = _number("last 100: same destination", "{flow}")
    recent_source_to_port: float | None = _number("last 100: same source and destination port", "{flow}")
    recent_port_to_destination: float | None = _number("last 100: same destination and source port", "{flow}")
    recent_pair: float | None = _number("last 100: same source and destination", "{flow}")
    recent_state_ttl: float | None = _number("grade of the state within ranges of both times to live")
    # connection
    land: float | None = _number("1: from a host and port to the same host and port", le=1)
    wrong_fragment: float | None = _number("wrong fragments", "{fragment}")
    urgent: float | None = _number("urgent packets", "{packet}")
    count: float | None = _number("connections to this host in two seconds", "{connection}")
    srv_count: float | None = _number("connections to this service in two seconds", "{connection}")
    serror_rate: float | None = _share("`count` with a SYN error")
    srv_serror_rate: float | None = _share("`srv_count` with a SYN error")
    rerror_rate: float | None = _share("`count` with a REJ error")
    srv_rerror_rate: float | None = _share("`srv_count` with a REJ error")
    same_srv_rate: float | None = _share("`count` to the same service")
    diff_srv_rate: float | None = _share("`count` to other services")
    srv_diff_host_rate: float | None = _share("`srv_count` to other hosts")
    dst_host_count: float | None = _number("last 100: connections to this host", "{connection}")
    dst_host_srv_count: float | None = _number("last 100: connections to this host's service", "{connection}")
    dst_host_same_srv_rate: float | None = _share("`dst_host_count` to the same service")
    dst_host_diff_srv_rate: float | None = _share("`dst_host_count` to other services")
    dst_host_same_src_port_rate: float | None = _share("`dst_host_srv_count` from the same source port")
    dst_host_srv_diff_host_rate: float | None = _share("`dst_host_srv_count` from other hosts")
    dst_host_serror_rate: float | None = _share("`dst_host_count` with a SYN error")
    dst_host_srv_serror_rate: float | None = _share("`dst_host_srv_count` with a SYN error")
    dst_host_rerror_rate: float | None = _share("`dst_host_count` with a REJ error")
    dst_host_srv_rerror_rate: float | None = _share("`dst_host_srv_count` with a REJ error")
    # connection, session
    hot: float | None = _number("accesses to sensitive places: system directories, programs created or run")
    num_failed_logins: float | None = _number("failed logins", "{login}")
    logged_in: float | None = _number("1: logged in", le=1)
    num_compromised: float | None = _number("conditions of a compromised host")
    root_shell: float | None = _number("1: a root shell was got", le=1)
    su_attempted: float | None = _number("1: `su root` was tried; 2: it was tried again", le=2)
    num_root: float | None = _number("operations as root")
    num_file_creations: float | None = _number("files created", "{file}")
    num_shells: float | None = _number("shells started", "{shell}")
    num_access_files: float | None = _number("operations on access control files")
    is_guest_login: float | None = _number("1: logged in as guest or anonymous", le=1)


class Verdict(Columns):
    """What became known of the activity recorded at `time`."""

    activity_id: str = column("the activity", min_length=1)
    threat: str = column(f"`{NONE}`, the type, or `type/attack` where the attack has a name", min_length=1)
    lineage: str | None = column(
        "records made from one template carry one name: kept together in splits, never an input", default=None
    )


TEXTS = ("value", "protocol", "service", "state")
NUMBERS = tuple(name for name, (kind, _) in Activity.kinds().items() if kind is float)


def activities(frames: Frames) -> pd.DataFrame:
    """OCSF records → one row per activity with the columns of `Activity` and `dataset`.

    Fields that `Activity` does not know are ignored. Raises DataError naming the record whose `unmapped` is no object.
    """
    records = _first(frames["network"], "metadata_uid")
    data = pd.DataFrame(list(_objects(records["metadata_uid"], records["unmapped"])), index=records.index)
    rows = pd.DataFrame(
        {"dataset": records["dataset"], "time": records["time"], "activity_id": records["metadata_uid"]}
    )
    standard = records.rename(columns={"protocol_name": "protocol"})
    for name in ("kind", *TEXTS, *NUMBERS):
        told = data[name] if name in data else standard.get(name, pd.Series(None, records.index, dtype=object))
        if name in NUMBERS:
            rows[name] = pd.to_numeric(told).astype("float64")
        else:
            rows[name] = told.astype(object).where(told.notna(), None)
    rows["value"] = pd.Series([text and text[:LONGEST] for text in rows["value"]], rows.index, dtype=object)
    return rows.reset_index(drop=True)


def verdicts(frames: Frames) -> pd.DataFrame:
    """Verdict events → one row per activity: of several verdicts the first that is not `none` counts."""
    events = frames["events"]
    data = pd.DataFrame(list(_objects(events["id"], events["data"])), events.index, ["observed", "threat", "lineage"])
    if len(bad := events["id"][data[["observed", "threat"]].isna().any(axis=1)]):
        raise DataError(f"event {bad.iloc[0]!r}: data must hold observed and threat")
    rows = pd.DataFrame({"dataset": events["dataset"], "activity_id": events["subject"]})
    rows["time"] = pd.to_datetime(data["observed"], utc=True).astype(events["time"].dtype)
    rows["threat"], rows["lineage"] = (
        data["threat"],
        data["lineage"].astype(object).where(data["lineage"].notna(), None),
    )
    begin = rows.groupby("activity_id")["time"].min()
    rows = rows.assign(benign=rows["threat"] == NONE).sort_values(["activity_id", "benign", "time", "threat"])
    rows = rows.drop_duplicates("activity_id").drop(columns="benign").reset_index(drop=True)
    return rows.assign(time=rows["activity_id"].map(begin))


def _first(records: pd.DataFrame, key: str) -> pd.DataFrame:
    return records.sort_values([key, "time"], kind="stable").drop_duplicates(key)


def _objects(names: pd.Series, texts: pd.Series) -> Iterator[dict[str, Any]]:
    for name, text in zip(names, texts, strict=True):
        try:
            content = json.loads(text)
        except (TypeError, ValueError) as error:
            raise DataError(f"record {name!r}: its data is not JSON ({error})") from None
        if not isinstance(content, dict):
            raise DataError(f"record {name!r}: its data must be a JSON object")
        yield content


ACTIVITIES = View(
    name="activities",
    entity="activity_id",
    columns=Activity,
    reads={"network": {}},
    keys={"network": "metadata_uid"},
    transform=activities,
    ttl=timedelta(days=1),  # a verdict on an activity is asked for at once
    once=True,
    description="Flows, connections, sessions and API parameters: what was measured of each.",
)

VERDICTS = View(
    name="activity_verdicts",
    entity="activity_id",
    columns=Verdict,
    reads={"events": {"type": (VERDICT,)}},
    keys={"events": "subject"},
    transform=verdicts,
    ttl=timedelta(days=1),
    online=False,
    description="Labels: what became known of each activity.",
)
