"""Proofs of single audit entries: each holds, and no other entry, size, path or key does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from infra.errors import NotFound
from remediation.engine import Engine
from remediation.kernel import merkle
from remediation.kernel.audit import Trail, content_hash
from remediation.kernel.merkle import Proof, holds, prove


def proofs(engine: Engine) -> list[Proof]:
    core = engine.kernel.core
    size = engine.verify_audit().entries
    return [prove(core.store, core.trail, seq) for seq in range(1, size + 1)]


def test_each_entry_has_a_proof_that_survives_its_way_through_json(engine: Engine) -> None:
    found = proofs(engine)
    assert len(found) == 27
    key = engine.kernel.core.trail.public_key()
    assert all(holds(Proof.model_validate_json(one.model_dump_json()), key) for one in found)
    assert max(len(one.path) for one in found) == 5  # the logarithm of 27


def test_what_is_changed_in_a_proof_is_found(engine: Engine, tmp_path: Path) -> None:
    key = engine.kernel.core.trail.public_key()
    one, other = proofs(engine)[4:6]
    forged = {**one.entry, "actor": "mallory"}
    changes = [
        {"entry": forged},
        {"entry": {**forged, "hash": content_hash(forged)}},
        {"entry": {**one.entry, "remark": "new"}},
        {"entry": {**one.entry, "seq": 6}},
        {"entry": other.entry},
        {"size": 26},
        {"path": one.path[:-1]},
        {"path": (*one.path, one.path[0])},
        {"path": other.path},
        {"path": ("no hash", *one.path[1:])},
        {"signature": "00" * 64},
    ]
    assert [change for change in changes if holds(one.model_copy(update=change), key)] == []
    assert not holds(one, Trail(tmp_path / "other").public_key())


def test_an_entry_that_is_not_there_has_no_proof(engine: Engine) -> None:
    core = engine.kernel.core
    for seq in (0, 28):
        with pytest.raises(NotFound, match="1 to 27"):
            prove(core.store, core.trail, seq)


def test_the_tree_is_the_one_of_rfc_6962() -> None:
    """Roots that certificate transparency publishes for its eight test leaves."""
    leaves = [bytes.fromhex(leaf) for leaf in ("", "00", "10", "2021", "3031", "40414243")]
    assert merkle._root(leaves[:1]).hex() == hashlib.sha256(b"\0").hexdigest()
    assert merkle._root(leaves[:2]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert merkle._root(leaves[:3]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert merkle._root(leaves[:4]).hex() == "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
    assert merkle._root(leaves[:6]).hex() == "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"
