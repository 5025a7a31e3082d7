"""Facts of CloudFormation templates and Kubernetes manifests: their documents flattened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import yaml

from features.iac import values

_RESOURCE_KEYS = ("Properties", "DeletionPolicy", "UpdateReplacePolicy", "Metadata", "Condition")
_HIDDEN = (".env[].value", "Environment.Variables.", "ConfigMap.data.", "Secret.data.", "Secret.stringData.")


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms: `!Ref x` is {"Ref": x}, `!Sub x` is {"Fn::Sub": x}."""


def _short_form(loader: _Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = getattr(node, "value", None)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _short_form)


def cloudformation(text: str) -> tuple[list[str], Counter[str]]:
    """The facts of a template and how many resources of each type it has. Raises yaml.YAMLError."""
    facts: list[str] = []
    types: Counter[str] = Counter()
    for document in _documents(text):
        for resource in (document.get("Resources") or {}).values():
            if not isinstance(resource, dict) or not isinstance(resource.get("Type"), str):
                continue
            name = resource["Type"]
            types[name] += 1
            facts.append(name)
            facts += [
                fact for key in _RESOURCE_KEYS if key in resource for fact in _flat(f"{name}.{key}", resource[key])
            ]
    return facts, types


def kubernetes(text: str) -> tuple[list[str], Counter[str]]:
    """The facts of the manifests of a file and how many of each kind it has. Raises yaml.YAMLError."""
    facts: list[str] = []
    types: Counter[str] = Counter()
    for document in _documents(text):
        if not isinstance(name := document.get("kind"), str):
            continue
        types[name] += 1
        facts.append(name)
        keys = (key for key in document if key not in ("kind", "status"))
        facts += [fact for key in keys for fact in _flat(f"{name}.{key}", document[key])]
    return facts, types


def _documents(text: str) -> Iterator[dict[str, Any]]:
    for document in yaml.load_all(text, Loader=_Loader):
        if isinstance(document, dict):
            yield document


def _flat(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(f"{path}.{key}", inner)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _flat(f"{path}[]", inner)
    else:
        hidden = any(part in f"{path}." if part.endswith(".") else path.endswith(part) for part in _HIDDEN)
        yield f"{path}={'STR' if hidden else 'EMPTY' if value in ({}, []) else values.of(value, path)}"
