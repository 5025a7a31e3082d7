"""The audit trail: a hash chain in the kernel's store and a signed head outside of it.

Each entry's hash covers its content and the hash before it, so an edit, a deletion or a reordering breaks the chain at
a nameable entry. A cut-off tail leaves a sound but shorter chain; the head checkpoint (Ed25519, its key readable by the
owner only) shows that one. Verification needs only the entries, the checkpoint and the public key: it works offline.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection, select

from infra.errors import UserError
from remediation.clock import Instant
from remediation.kernel.store import Store
from remediation.kernel.store import audit as table
from remediation.records import Record, canonical

GENESIS = "0" * 64
_FIELDS = ("seq", "time", "actor", "kind", "subject", "body", "prev")
ENTRY = {*_FIELDS, "hash"}
_CHECKPOINT = {"seq", "hash", "time", "signature"}


class Verification(Record):
    """The answer of `verify`: `bad` is the first wrong entry's number, `problem` says what is wrong with it.

    `unsigned`: entries after the last checkpoint; more than a few mean that a process died right after a commit.
    """

    ok: bool
    entries: int
    unsigned: int = 0
    bad: int | None = None
    problem: str = ""


class Trail:
    """Appends to the chain inside the caller's transaction and signs its head after the commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint_file = folder / "audit.checkpoint.json"
        self._private = _key(folder / "audit.key", folder / "audit.pub")

    def append(
        self, conn: Connection, now: Instant, actor: str, kind: str, subject: str, body: Mapping[str, Any]
    ) -> None:
        """Add one entry; `subject` is the incident (or fingerprint, or intent) that it is about."""
        last = conn.execute(select(table.c.seq, table.c.hash).order_by(table.c.seq.desc()).limit(1)).first()
        entry = {
            "seq": last.seq + 1 if last else 1,
            "time": now.utc.isoformat(),
            "actor": actor,
            "kind": kind,
            "subject": subject,
            "body": canonical(body),
            "prev": last.hash if last else GENESIS,
        }
        entry["hash"] = content_hash(entry)
        conn.execute(table.insert().values(**entry))
        head = {"seq": entry["seq"], "hash": entry["hash"], "time": entry["time"]}
        conn.info["after"][:] = [partial(self._sign, head)]  # one signature a transaction, over its last entry

    def public_key(self) -> Ed25519PublicKey:
        return self._private.public_key()

    def sign(self, statement: bytes) -> bytes:
        """Sign with the trail's key; the statement must say what it is about."""
        return self._private.sign(statement)

    def checkpoint(self) -> dict[str, Any] | None:
        """The signed head, or None before the first entry."""
        return json.loads(self.checkpoint_file.read_text()) if self.checkpoint_file.exists() else None

    def _sign(self, head: dict[str, Any]) -> None:
        signed = {**head, "signature": self.sign(canonical(head).encode()).hex()}
        with (self.folder / "audit.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = self.checkpoint()
            if known is None or known["seq"] < head["seq"]:  # a slower process must not move the head back
                _replace(self.checkpoint_file, canonical(signed))


def entries(store: Store, subject: str | None = None) -> Iterator[dict[str, Any]]:
    """All entries (of one subject) in order."""
    query = select(table).order_by(table.c.seq)
    with store.read() as conn:
        for row in conn.execute(query if subject is None else query.where(table.c.subject == subject)):
            yield dict(row._mapping)


def verify(
    chain: Iterable[Mapping[str, Any]], checkpoint: Mapping[str, Any] | None, public_key: Ed25519PublicKey
) -> Verification:
    """Check every link, every hash and the signed head; names the first bad entry."""
    count, prev, anchored = 0, GENESIS, ""
    head = checkpoint["seq"] if checkpoint and isinstance(checkpoint.get("seq"), int) else 0
    for count, entry in enumerate(chain, start=1):
        problem = _wrong(entry, count, prev)
        if problem:
            return Verification(ok=False, entries=count, bad=count, problem=problem)
        prev = entry["hash"]
        anchored = prev if count == head else anchored
    if checkpoint is None:
        problem = "" if count == 0 else "the checkpoint is missing: the chain's end cannot be trusted"
    elif not _signed(checkpoint, public_key):
        problem = "the checkpoint's signature is wrong"
    elif count < head:
        problem = f"the tail is cut off: the signed head is entry {head}"
    else:
        problem = "" if anchored == checkpoint["hash"] else "the chain was rewritten: the signed head's hash differs"
    if problem:
        return Verification(ok=False, entries=count, bad=min(count + 1, head) if head else count, problem=problem)
    return Verification(ok=True, entries=count, unsigned=count - head)


def export(store: Store, trail: Trail, path: Path) -> Path:
    """Write the chain as JSON lines, the checkpoint last; `verify_file` needs only this file and the public key."""
    checkpoint = trail.checkpoint()  # first: the chain may only be longer than its signed head
    lines = [canonical(entry) for entry in entries(store)]
    _replace(path, "".join(f"{line}\n" for line in [*lines, canonical({"checkpoint": checkpoint})]))
    return path


def verify_file(path: Path, public_key: Ed25519PublicKey) -> Verification:
    """Verify an exported trail offline. Any changed byte is found: every line must be in canonical form."""
    raw = path.read_bytes()
    lines = raw.split(b"\n")
    parsed = [_parse(line) for line in lines[:-1]]
    broken = next((n for n, value in enumerate(parsed, start=1) if value is None), None)
    if lines[-1] != b"" or broken or not parsed:
        where = broken or len(lines)
        return Verification(ok=False, entries=len(lines), bad=where, problem="the line is not a canonical JSON object")
    *chain, last = parsed
    if last is None or set(last) != {"checkpoint"}:
        return Verification(ok=False, entries=len(chain), bad=len(lines) - 1, problem="the checkpoint is missing")
    return verify([entry for entry in chain if entry is not None], last["checkpoint"], public_key)


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Read the hex public key that lies beside the trail."""
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(path.read_text().strip()))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not an Ed25519 public key in hex: {error}") from None


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
        return value if isinstance(value, dict) and canonical(value).encode() == line else None
    except (ValueError, RecursionError):  # json and utf-8 errors are ValueErrors
        return None


def _wrong(entry: Mapping[str, Any], seq: int, prev: str) -> str:
    if set(entry) != ENTRY:
        return f"fields are {sorted(entry)}, expected {sorted(ENTRY)}"
    if entry["seq"] != seq or isinstance(entry["seq"], bool):
        return f"entry {seq} is missing or out of order (found {entry['seq']!r})"
    if entry["prev"] != prev:
        return "does not follow the entry before it"
    return "" if entry["hash"] == content_hash(entry) else "content does not match its hash"


def content_hash(entry: Mapping[str, Any]) -> str:
    """The hash that an untouched entry carries. Raises KeyError for a missing field."""
    return hashlib.sha256(canonical({field: entry[field] for field in _FIELDS}).encode()).hexdigest()


def _signed(checkpoint: Mapping[str, Any], public_key: Ed25519PublicKey) -> bool:
    if set(checkpoint) != _CHECKPOINT:
        return False
    head = {field: checkpoint[field] for field in ("seq", "hash", "time")}
    try:
        datetime.fromisoformat(head["time"])
        public_key.verify(bytes.fromhex(checkpoint["signature"]), canonical(head).encode())
    except (InvalidSignature, ValueError, TypeError):
        return False
    return bool(checkpoint["signature"] == checkpoint["signature"].lower())


def _key(private: Path, public: Path) -> Ed25519PrivateKey:
    """Read the signing key; make it on first use. Refuses one that others can read."""
    private.parent.mkdir(parents=True, exist_ok=True)
    if not private.exists():
        draft = private.with_name(f"{private.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(Ed25519PrivateKey.generate().private_bytes_raw().hex())
        with suppress(FileExistsError):  # another process was a moment faster: its key counts
            os.link(draft, private)
        draft.unlink()
    if private.stat().st_mode & 0o077:
        raise UserError(f"{private} can be read by others; mend it with: chmod 600 {private}")
    try:
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private.read_text()))
    except ValueError:
        raise UserError(f"{private} is not an Ed25519 key in hex; restore it from a backup") from None
    if not public.exists():
        _replace(public, key.public_key().public_bytes_raw().hex())
    return key


def _replace(path: Path, content: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
