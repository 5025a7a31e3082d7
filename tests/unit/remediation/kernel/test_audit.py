"""The trail: any edit, deletion, reordering and cut-off tail is found, in the store and in an exported file."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from infra.errors import UserError
from remediation.engine import Engine
from remediation.kernel import audit
from remediation.kernel.audit import Trail, load_public_key, verify_file
from remediation.records import canonical

MUTATIONS = int(os.environ.get("AIOPS_AUDIT_MUTATIONS", "1000"))


def test_an_untouched_trail_holds(engine: Engine, tmp_path: Path) -> None:
    found = engine.verify_audit()
    assert found.ok and found.entries == 27 and found.unsigned == 0
    exported = engine.export_audit(tmp_path / "trail.jsonl")
    assert verify_file(exported, load_public_key(tmp_path / "audit.pub")).ok


TAMPERINGS: dict[str, tuple[str, int]] = {
    "an edited body": ("UPDATE audit SET body = replace(body, 'web-0', 'web-9') WHERE seq = 2", 2),
    "an edited time": ("UPDATE audit SET time = '2020-01-01T00:00:00+00:00' WHERE seq = 5", 5),
    "an edited actor": ("UPDATE audit SET actor = 'mallory' WHERE seq = 3", 3),
    "a deleted entry": ("DELETE FROM audit WHERE seq = 4", 4),
    "a deleted first entry": ("DELETE FROM audit WHERE seq = 1", 1),
    "a cut-off tail": ("DELETE FROM audit WHERE seq > 20", 21),
    "an empty trail": ("DELETE FROM audit", 1),
    "two entries swapped": ("UPDATE audit SET seq = CASE seq WHEN 6 THEN -7 ELSE 6 END WHERE seq IN (6, 7)", 1),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_tampering_with_the_store_is_found(engine: Engine, tmp_path: Path, what: str) -> None:
    statement, bad = TAMPERINGS[what]
    with closing(sqlite3.connect(tmp_path / "kernel.db")) as database, database:
        if what == "two entries swapped":
            database.execute("UPDATE audit SET seq = -6 WHERE seq = 6")
            database.execute("UPDATE audit SET seq = 6 WHERE seq = 7")
            database.execute("UPDATE audit SET seq = 7 WHERE seq = -6")
            bad = 6
        else:
            database.execute(statement)
    found = engine.verify_audit()
    assert not found.ok and found.bad == bad


def test_a_chain_rewritten_from_an_entry_on_is_found(engine: Engine, tmp_path: Path) -> None:
    rewritten = list(audit.entries(engine.kernel.core.store))
    rewritten[9]["actor"] = "mallory"
    for before, entry in zip(rewritten[8:], rewritten[9:], strict=False):
        entry["prev"] = before["hash"]
        entry["hash"] = audit.content_hash(entry)
    trail = engine.kernel.core.trail
    found = audit.verify(rewritten, trail.checkpoint(), trail.public_key())
    assert not found.ok and "rewritten" in found.problem


def test_a_checkpoint_that_is_missing_old_or_of_another_key_is_found(engine: Engine, tmp_path: Path) -> None:
    chain = list(audit.entries(engine.kernel.core.store))
    trail = engine.kernel.core.trail
    other = Trail(tmp_path / "other")
    assert "missing" in audit.verify(chain, None, trail.public_key()).problem
    assert "signature" in audit.verify(chain, trail.checkpoint(), other.public_key()).problem
    assert "cut off" in audit.verify(chain[:-1], trail.checkpoint(), trail.public_key()).problem


def flip_byte(lines: list[bytes], dice: random.Random) -> list[bytes]:
    number = dice.randrange(len(lines))
    place = dice.randrange(len(lines[number]))
    changed = bytearray(lines[number])
    changed[place] ^= dice.randrange(1, 256)
    return [*lines[:number], bytes(changed), *lines[number + 1 :]]


def delete(lines: list[bytes], dice: random.Random) -> list[bytes]:
    number = dice.randrange(len(lines))
    return lines[:number] + lines[number + 1 :]


def repeat(lines: list[bytes], dice: random.Random) -> list[bytes]:
    number = dice.randrange(len(lines))
    return lines[:number] + [lines[number]] + lines[number:]


def swap(lines: list[bytes], dice: random.Random) -> list[bytes]:
    one, other = dice.sample(range(len(lines)), 2)
    lines = list(lines)
    lines[one], lines[other] = lines[other], lines[one]
    return lines


def cut_tail(lines: list[bytes], dice: random.Random) -> list[bytes]:
    return lines[: dice.randrange(len(lines) - 1)] + lines[-1:]


def forge(lines: list[bytes], dice: random.Random) -> list[bytes]:
    """Edit a field and repair the entry's own hash."""
    number = dice.randrange(len(lines) - 1)
    entry = json.loads(lines[number])
    entry[dice.choice(["actor", "kind", "subject", "body", "time"])] = "forged"
    entry["hash"] = audit.content_hash(entry)
    return [*lines[:number], canonical(entry).encode(), *lines[number + 1 :]]


def reformat(lines: list[bytes], dice: random.Random) -> list[bytes]:
    number = dice.randrange(len(lines))
    return [*lines[:number], json.dumps(json.loads(lines[number])).encode(), *lines[number + 1 :]]


MUTATORS: list[Callable[[list[bytes], random.Random], list[bytes]]] = [
    flip_byte,
    delete,
    repeat,
    swap,
    cut_tail,
    forge,
    reformat,
]


def test_random_mutations_of_an_exported_trail_are_all_found(engine: Engine, tmp_path: Path) -> None:
    lines = engine.export_audit(tmp_path / "trail.jsonl").read_bytes().splitlines()
    key = load_public_key(tmp_path / "audit.pub")
    dice = random.Random(20260101)
    mutated = tmp_path / "mutated.jsonl"
    for number in range(MUTATIONS):
        mutator = MUTATORS[number % len(MUTATORS)]
        changed = mutator(lines, dice)
        mutated.write_bytes(b"".join(line + b"\n" for line in changed))
        assert not verify_file(mutated, key).ok, f"{mutator.__name__} number {number} was not found"


def test_the_key_is_the_owners_alone(tmp_path: Path) -> None:
    Trail(tmp_path)
    key = tmp_path / "audit.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        Trail(tmp_path)


def test_the_store_is_the_owners_alone(engine: Engine, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "kernel.db").stat().st_mode) == 0o600
