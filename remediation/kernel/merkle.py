"""Proofs that one audit entry belongs to the trail, without showing any other (the Merkle tree of RFC 6962).

The leaves are the entries' chain hashes in order, the root is signed with the trail's key: who has an entry, its proof
and the public key needs neither the store nor the other entries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from infra.errors import NotFound
from remediation.kernel.audit import ENTRY, Trail, content_hash, entries
from remediation.kernel.store import Store
from remediation.records import Record, canonical


class Proof(Record):
    """An entry, the hashes beside its way up to the root (hex, from the leaf on) and the root's signature.

    `size`: the number of entries below the root.
    """

    entry: Mapping[str, Any]
    size: int
    path: tuple[str, ...]
    signature: str


def prove(store: Store, trail: Trail, seq: int) -> Proof:
    """The proof of entry `seq` in the trail as it is now. Raises NotFound."""
    chain = list(entries(store))
    if not 1 <= seq <= len(chain):
        raise NotFound("audit entry", str(seq), [f"1 to {len(chain)}"] if chain else [])
    leaves = [bytes.fromhex(entry["hash"]) for entry in chain]
    path = tuple(one.hex() for one in _path(seq - 1, leaves))
    signature = trail.sign(_statement(len(chain), _root(leaves)))
    return Proof(entry=chain[seq - 1], size=len(chain), path=path, signature=signature.hex())


def holds(proof: Proof, public_key: Ed25519PublicKey) -> bool:
    """Whether the entry is untouched and below the root that the trail's key signed."""
    try:
        leaf = content_hash(proof.entry)
        root = _climb(bytes.fromhex(leaf), proof.entry["seq"] - 1, proof.size, [bytes.fromhex(h) for h in proof.path])
        public_key.verify(bytes.fromhex(proof.signature), _statement(proof.size, root))
    except (InvalidSignature, KeyError, TypeError, ValueError):
        return False
    return set(proof.entry) == ENTRY and bool(proof.entry["hash"] == leaf)


def _statement(size: int, root: bytes) -> bytes:
    return canonical({"merkle_root": root.hex(), "size": size}).encode()


def _leaf(content: bytes) -> bytes:
    return hashlib.sha256(b"\0" + content).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two below `size`: the number of leaves on the left."""
    return 1 << ((size - 1).bit_length() - 1)


def _root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return _leaf(leaves[0])
    left = _split(len(leaves))
    return _node(_root(leaves[:left]), _root(leaves[left:]))


def _path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    left = _split(len(leaves))
    if index < left:
        return [*_path(index, leaves[:left]), _root(leaves[left:])]
    return [*_path(index - left, leaves[left:]), _root(leaves[:left])]


def _climb(content: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that this leaf and path lead to. Raises ValueError where they do not fit the size."""
    if not 0 <= index < size or (size == 1) != (not path):
        raise ValueError(f"no path of {len(path)} hashes leads from leaf {index} to the root of {size}")
    if size == 1:
        return _leaf(content)
    left, (*below, beside) = _split(size), path
    if index < left:
        return _node(_climb(content, index, left, below), beside)
    return _node(beside, _climb(content, index - left, size - left, below))
