"""UNSW-NB15 (Moustafa & Slay, MilCIS 2015): flows of a cyber range, benign or one of nine families of attacks.

Layout: CSV files, plain or zipped, with the publisher's header of 45 columns. `id` gives only the order, and `label`
follows from `attack_cat`. The TCP sequence numbers (`stcpb`, `dtcpb`) are random by design and would only make equal
flows look different: they are left out, so that flows that differ in nothing else are one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from features.source import Batch, Source
from features.sources import _activities, _csv
from features.transforms.activities import NONE

TEXTS = {"proto": "protocol", "service": "service", "state": "state"}
NUMBERS = {
    "dur": "duration_s",
    "sbytes": "bytes_out",
    "dbytes": "bytes_in",
    "spkts": "packets_out",
    "dpkts": "packets_in",
    "rate": "packet_rate",
    "sttl": "ttl_out",
    "dttl": "ttl_in",
    "sload": "load_out",
    "dload": "load_in",
    "sloss": "lost_out",
    "dloss": "lost_in",
    "sinpkt": "gap_out_ms",
    "dinpkt": "gap_in_ms",
    "sjit": "jitter_out_ms",
    "djit": "jitter_in_ms",
    "swin": "window_out",
    "dwin": "window_in",
    "tcprtt": "handshake_s",
    "synack": "syn_ack_s",
    "ackdat": "ack_s",
    "smean": "mean_bytes_out",
    "dmean": "mean_bytes_in",
    "trans_depth": "http_depth",
    "response_body_len": "http_body_bytes",
    "ct_flw_http_mthd": "http_methods",
    "is_ftp_login": "ftp_login",
    "ct_ftp_cmd": "ftp_commands",
    "is_sm_ips_ports": "same_endpoints",
    "ct_srv_src": "recent_source_service",
    "ct_srv_dst": "recent_destination_service",
    "ct_src_ltm": "recent_source",
    "ct_dst_ltm": "recent_destination",
    "ct_src_dport_ltm": "recent_source_to_port",
    "ct_dst_sport_ltm": "recent_port_to_destination",
    "ct_dst_src_ltm": "recent_pair",
    "ct_state_ttl": "recent_state_ttl",
}
TYPES = {
    "normal": NONE,
    "backdoors": "backdoor",  # the raw captures spell it so
    **{
        name: name
        for name in (
            "analysis",
            "backdoor",
            "dos",
            "exploits",
            "fuzzers",
            "generic",
            "reconnaissance",
            "shellcode",
            "worms",
        )
    },
}


class UnswNb15(Source):
    """Reads `UNSW_NB15_training-set.zip` and files with the same header."""

    def pull(self, where: str) -> Iterator[Batch]:
        """Two batches per file. Raises DataError naming file and column."""
        columns = ["id", *TEXTS, *NUMBERS, "attack_cat"]
        for path, table in _csv.matching(Path(where), columns, "unsw_nb15", ("*.csv", "*.zip")):
            measured = pd.DataFrame({name: table[raw].str.strip() for raw, name in TEXTS.items()})
            for raw, name in NUMBERS.items():
                measured[name] = _csv.number(table, raw, path)
            threat, order = _csv.choice(table, "attack_cat", path, TYPES), _csv.number(table, "id", path)
            yield from _activities.batches("unsw_nb15", "flow", measured, threat, order=order)
