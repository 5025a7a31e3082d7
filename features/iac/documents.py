"""Facts of CloudFormation templates and Kubernetes manifests: their documents flattened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import yaml

from features.iac import values

LARGEST = 100_000  # facts of one file
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
        resources = document.get("Resources")
        for resource in resources.values() if isinstance(resources, dict) else ():
            if not isinstance(resource, dict) or not isinstance(resource.get("Type"), str):
                continue
            name = resource["Type"]
            types[name] += 1
            facts.append(name)
            _add(facts, name, {key: resource[key] for key in _RESOURCE_KEYS if key in resource})
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
        _add(facts, name, {key: value for key, value in document.items() if key not in ("kind", "status")})
    return facts, types


def _documents(text: str) -> Iterator[dict[str, Any]]:
    for document in yaml.load_all(text, Loader=_Loader):
        if isinstance(document, dict):
            yield document


def _add(facts: list[str], name: str, values_of: dict[Any, Any]) -> None:
    """Append the facts of each key of `name`. Raises yaml.YAMLError when aliases make too many out of few bytes."""
    for key, value in values_of.items():
        facts += islice(_flat(f"{name}.{key}", value), max(0, LARGEST + 1 - len(facts)))
        if len(facts) > LARGEST:
            raise yaml.YAMLError(f"it holds more than {LARGEST} values")


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
