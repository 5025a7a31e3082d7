"""Values of infrastructure code as classes: enough for a policy to be recognised, too little to hold a secret."""

from __future__ import annotations

import re

_SHORT = re.compile(r"[A-Za-z0-9_.:/*@+-]{1,24}")
_IDENTIFIER = re.compile(r"\d{6}|^arn:|\b(?:i|vpc|subnet|sg|ami|vol|eni|rtb|igw|acl|snap)-[0-9a-f]{6,}")
_SECRET = re.compile(r"passw|secret|token|credential|private_?key|api_?key", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_CALL = re.compile(r"([A-Za-z_]\w*)\s*\(")
_ITEMS = 4


def of(value: object, path: str = "") -> str:
    """The class of a parsed value that lies at `path`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return _number(str(value))
    return text(str(value), path)


def text(value: str, path: str = "") -> str:
    """The class of a literal: itself when short and harmless, else STR."""
    if not value:
        return "EMPTY"
    if "${" in value:
        return "REF"
    harmless = _SHORT.fullmatch(value) and not _IDENTIFIER.search(value) and not _SECRET.search(path)
    return f"s:{value}" if harmless else "STR"


def expression(raw: str, path: str = "") -> str:
    """The class of a Terraform expression on one line."""
    raw = raw.strip().rstrip(",").strip()
    if raw in ("true", "false", "null"):
        return raw
    if _NUMBER.fullmatch(raw):
        return _number(raw)
    if len(raw) > 1 and raw[0] == raw[-1] == '"' and '"' not in raw[1:-1].replace('\\"', ""):
        return text(raw[1:-1], path)
    if raw.startswith("[") and raw.endswith("]"):
        items = dict.fromkeys(expression(item, path) for item in raw[1:-1].split(",") if item.strip())
        return f"[{','.join(list(items)[:_ITEMS])}]"
    if raw.startswith("{"):
        return "MAP"
    call = _CALL.match(raw)
    return f"FN:{call[1]}" if call else "REF"


def _number(raw: str) -> str:
    return f"n{raw}" if len(raw) <= 8 else "NUM"
