"""NSL-KDD (Tavallaee et al., IEEE CISDA 2009): connections of the 1998 DARPA testbed, benign or a named attack.

Layout: text files without a header, 41 features, the label and, mostly, a difficulty, which tells how many classifiers
got the row right and is never read. Two columns never vary (`num_outbound_cmds`) or hardly (`is_host_login`) and are
left out. A connection to a login service becomes a `connection` and, told by the account's doings alone, a `session`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from features.source import Batch, Source
from features.sources import _activities, _csv
from features.transforms.activities import NONE
from infra.errors import DataError

RENAMED = {
    "duration": "duration_s",
    "protocol_type": "protocol",
    "flag": "state",
    "src_bytes": "bytes_out",
    "dst_bytes": "bytes_in",
}
_COLUMNS = (
    "duration protocol_type service flag src_bytes dst_bytes land wrong_fragment urgent hot num_failed_logins "
    "logged_in num_compromised root_shell su_attempted num_root num_file_creations num_shells num_access_files "
    "num_outbound_cmds is_host_login is_guest_login count srv_count serror_rate srv_serror_rate rerror_rate "
    "srv_rerror_rate same_srv_rate diff_srv_rate srv_diff_host_rate dst_host_count dst_host_srv_count "
    "dst_host_same_srv_rate dst_host_diff_srv_rate dst_host_same_src_port_rate dst_host_srv_diff_host_rate "
    "dst_host_serror_rate dst_host_srv_serror_rate dst_host_rerror_rate dst_host_srv_rerror_rate label"
)
COLUMNS = _COLUMNS.split()
UNUSED = ("num_outbound_cmds", "is_host_login", "label")
_BEHAVIOUR = (
    "service duration_s bytes_out bytes_in hot num_failed_logins logged_in num_compromised root_shell "
    "su_attempted num_root num_file_creations num_shells num_access_files is_guest_login"
)
BEHAVIOUR = _BEHAVIOUR.split()  # what an audit of one login tells
LOGINS = ("telnet", "ftp", "ftp_data", "login", "ssh", "pop_3", "imap4", "smtp", "shell", "exec", "klogin", "kshell")
FAMILIES = {
    "dos": "apache2 back land mailbomb neptune pod processtable smurf teardrop udpstorm",
    "probe": "ipsweep mscan nmap portsweep saint satan",
    "r2l": "ftp_write guess_passwd httptunnel imap multihop named phf sendmail snmpgetattack snmpguess spy warezclient "
    "warezmaster worm xlock xsnoop",
    "u2r": "buffer_overflow loadmodule perl ps rootkit sqlattack xterm",
}
TYPES = {"normal": NONE, **{name: f"{family}/{name}" for family, names in FAMILIES.items() for name in names.split()}}


class NslKdd(Source):
    """Reads `KDDTrain+_20Percent.txt` and files of the same form, such as `KDDTest+.txt`."""

    def pull(self, where: str) -> Iterator[Batch]:
        """Two batches of connections and two of sessions per file. Raises DataError naming file, column and line."""
        for path, table in _csv.headless(Path(where), COLUMNS, "nsl_kdd"):
            threat = _csv.choice(table, "label", path, TYPES)
            measured = _measured(table, path)
            yield from _activities.batches("nsl_kdd", "connection", measured, threat)
            account = measured["service"].isin(LOGINS) & measured[["logged_in", "num_failed_logins"]].gt(0).any(axis=1)
            if account.any():
                sessions = measured.loc[account, BEHAVIOUR]
                yield from _activities.batches("nsl_kdd", "session", sessions, threat[account])


def _measured(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    measured = pd.DataFrame(index=table.index)
    for raw in (name for name in COLUMNS if name not in UNUSED):
        text = raw in ("protocol_type", "service", "flag")
        measured[RENAMED.get(raw, raw)] = table[raw].str.strip() if text else _csv.number(table, raw, path)
    if (twice := measured["su_attempted"] > 2).any():
        line = int(twice.to_numpy().argmax()) + 1
        raise DataError(f"{path}, line {line}, column 'su_attempted': expected 0, 1 or 2")
    return measured
