"""What Terraform says as JSON (`terraform show -json`, format 1.x): drifted attributes without false drift.

Not drift are: attributes that only the provider computes (by `terraform providers schema -json`, where it is at hand),
the merged copy `tags_all`, nothing written in another way (null, "", [], {}), and what others attach to a role.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.errors import DataError
from remediation.drift import Change, Drifted

Computed = Mapping[str, frozenset[str]]  # resource type → attributes that only the provider sets
COPIES = frozenset({"tags_all"})
# what resources of their own set on another: its drift is theirs, unless the configuration sets it in place
ATTACHED = {
    "aws_iam_role": frozenset({"inline_policy", "managed_policy_arns"}),
    "aws_s3_bucket": frozenset(
        {"acceleration_status", "acl", "cors_rule", "grant", "lifecycle_rule", "logging", "object_lock_configuration"}
        | {"policy", "replication_configuration", "request_payer", "server_side_encryption_configuration"}
        | {"versioning", "website"}
    ),
}
_INDEX = re.compile(r"\[[^\]]*\]")
SENSITIVE = "(sensitive)"


def read(file: Path) -> dict[str, Any]:
    """A plan as `terraform show -json` prints it. Raises DataError naming what is wrong."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is not a readable JSON file: {error}") from None
    if not isinstance(content, dict) or not str(content.get("format_version", "")).startswith("1."):
        raise DataError(f"{file} is no plan of format 1.x; make one with `terraform show -json PLAN > {file.name}`")
    return content


def drifted(plan: Mapping[str, Any], computed: Computed | None = None) -> list[Drifted]:
    """The drifted attributes of a plan, by address."""
    root = (plan.get("configuration") or {}).get("root_module") or {}
    written = dict(_written(root, ""))
    found = [each for entry in plan.get("resource_drift") or () for each in _of(entry, computed or {}, written)]
    return sorted(found, key=lambda each: (each.address, each.attribute))


def changes(plan: Mapping[str, Any]) -> list[Change]:
    """What the plan would do; what it only reads or leaves alone is left out."""
    entries = ((entry["address"], tuple(entry["change"]["actions"])) for entry in plan.get("resource_changes") or ())
    return [Change(address=at, actions=actions) for at, actions in entries if actions not in (("no-op",), ("read",))]


def restored(each: Drifted, found: Mapping[str, Any], later: Mapping[str, Any]) -> bool:
    """Whether what plan `found` says has drifted is live again as it was applied, by plan `later`; secrets as well."""
    live = dict(_live((later.get("prior_state") or {}).get("values", {}).get("root_module") or {}))
    if each.address not in live:
        return False
    if not each.attribute:
        return True
    drift = (entry["change"] for entry in found["resource_drift"] if entry["address"] == each.address)
    applied = next(drift)["before"]
    return bool(_bare(live[each.address].get(each.attribute)) == _bare(applied.get(each.attribute)))


def _live(module: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Address and values of each resource of a module and of those below it."""
    for resource in module.get("resources") or ():
        yield resource["address"], resource.get("values") or {}
    for inner in module.get("child_modules") or ():
        yield from _live(inner)


def computed(schemas: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The attributes of each resource type that are computed and not optional (`terraform providers schema -json`)."""
    found = {}
    for provider in (schemas.get("provider_schemas") or {}).values():
        for kind, schema in (provider.get("resource_schemas") or {}).items():
            attributes = schema["block"].get("attributes") or {}
            found[kind] = frozenset(
                name for name, about in attributes.items() if about.get("computed") and not about.get("optional")
            )
    return found


def _written(module: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Address (without index) and the attributes that the configuration sets, of a module and those below it."""
    for resource in module.get("resources") or ():
        yield prefix + resource["address"], frozenset(resource.get("expressions") or ())
    for name, call in (module.get("module_calls") or {}).items():
        yield from _written(call.get("module") or {}, f"{prefix}module.{name}.")


def _of(entry: Mapping[str, Any], computed: Computed, written: Mapping[str, frozenset[str]]) -> Iterator[Drifted]:
    address, kind, change = entry["address"], entry["type"], entry["change"]
    if "delete" in change["actions"]:
        yield Drifted(address=address, attribute="", applied="present", live=None)
        return
    before, after = change.get("before") or {}, change.get("after") or {}
    marks = [change.get(side) or {} for side in ("before_sensitive", "after_sensitive")]
    hidden = {name for name in {*before, *after} if any(_secret(mark, name) for mark in marks)}
    attached = ATTACHED.get(kind, frozenset()) - written.get(_INDEX.sub("", address), frozenset())
    ignored = COPIES | attached | computed.get(kind, frozenset())
    for name in sorted({*before, *after} - ignored):
        applied, live = before.get(name), after.get(name)
        if _bare(applied) != _bare(live):
            shown = (SENSITIVE, SENSITIVE) if name in hidden else (_shown(applied), _shown(live))
            yield Drifted(address=address, attribute=name, applied=shown[0], live=shown[1])


def _secret(mark: Any, name: str | int) -> bool:
    """Whether `mark` (true; or by name or position what is secret inside) hides something of `name`."""
    inner = mark if isinstance(mark, bool) else mark.get(name, False) if isinstance(mark, dict) else mark[int(name)]
    if isinstance(inner, (dict, list)):
        return any(_secret(inner, key) for key in (inner if isinstance(inner, dict) else range(len(inner))))
    return bool(inner)


def _bare(value: Any) -> Any:
    """`value` without what is empty, so that two ways to write nothing are the same; JSON texts by their content."""
    if isinstance(value, dict):
        inner = {key: _bare(each) for key, each in value.items()}
        return {key: each for key, each in inner.items() if each is not None} or None
    if isinstance(value, list):
        return [each for each in map(_bare, value) if each is not None] or None
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return _bare(json.loads(value)) if value else None
        except ValueError:
            return value
    return value


def _shown(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True)
