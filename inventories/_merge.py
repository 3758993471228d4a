"""One effective policy from several: lists are joined by key, scalars must agree, the host's own value wins.

Pure functions. `merge` also tells for each value where it came from (`Provenance`: dotted field -> sources).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploys.errors import InputError
from deploys.policies.base import Item, Model, Policy

if TYPE_CHECKING:
    from pyinfra.api.host import Host

Provenance = dict[str, list[str]]


@dataclass(frozen=True)
class Source:
    """Who gives a policy: a group or the host itself, and where that is written."""

    label: str
    own: bool = False


@dataclass(frozen=True)
class Effective:
    """The policies that hold for one host, and where each of their values came from."""

    policies: Mapping[str, Policy]
    provenance: Mapping[str, Provenance]

    def get(self, name: str) -> Policy | None:
        return self.policies.get(name)

    def to_json(self) -> dict[str, Any]:
        return {name: policy.to_json() for name, policy in self.policies.items()}


def effective_of(host: Host) -> Effective:
    """The policies that `fleet()` gave a pyinfra host.

    Raises:
        InputError: the inventory was not made with `fleet()`.
    """
    effective = host.data.get("policies")
    if not isinstance(effective, Effective):
        message = f"{host.name} has no policies: make the inventory with inventories._fleet.fleet(), see README.md"
        raise InputError(message)
    return effective


def merge(given: Sequence[tuple[Source, Policy]]) -> tuple[Policy, Provenance]:
    """Join policies of one kind.

    Raises:
        InputError: two groups disagree; the message names the field, both values and both places.
    """
    provenance: Provenance = {}
    kind = type(given[0][1])
    fields = _fields([(source, policy) for source, policy in given], "", provenance)
    if len(given) == 1:
        return given[0][1], provenance
    return kind(**fields), provenance


def _at(source: Source, model: Model) -> str:
    return f"{source.label} ({model.origin})" if model.origin else source.label


def _fields(given: Sequence[tuple[Source, Model]], path: str, provenance: Provenance) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name in type(given[0][1]).model_fields:
        values = [(source, model, getattr(model, name)) for source, model in given if name in model.model_fields_set]
        if values:
            merged[name] = _value(values, f"{path}{name}", provenance)
    return merged


def _value(values: Sequence[tuple[Source, Model, Any]], path: str, provenance: Provenance) -> Any:  # noqa: ANN401
    first = values[0][2]
    if all(isinstance(value, tuple) for _, _, value in values):
        if any(isinstance(item, Item) for _, _, value in values for item in value):
            return _items(values, path, provenance)
        return _union(values, path, provenance)
    if isinstance(first, Model) and all(type(value) is type(first) for _, _, value in values):
        fields = _fields([(source, value) for source, _, value in values], f"{path}.", provenance)
        return first if len(values) == 1 else type(first)(**fields)
    return _scalar(values, path, provenance)


def _scalar(values: Sequence[tuple[Source, Model, Any]], path: str, provenance: Provenance) -> Any:  # noqa: ANN401
    own = [entry for entry in values if entry[0].own]
    deciding = own[-1:] or values
    for entry in deciding[1:]:
        if entry[2] != deciding[0][2]:
            raise InputError(_disagreement(path, deciding[0], entry))
    provenance[path] = [_at(source, model) for source, model, _ in deciding]
    return deciding[0][2]


def _disagreement(path: str, one: tuple[Source, Model, Any], other: tuple[Source, Model, Any]) -> str:
    first, second = one[2], other[2]
    if isinstance(first, Model) and type(first) is type(second):
        differing = [name for name in type(first).model_fields if getattr(first, name) != getattr(second, name)]
        first = ", ".join(f"{name}={getattr(one[2], name)!r}" for name in differing)
        second = ", ".join(f"{name}={getattr(other[2], name)!r}" for name in differing)
    return (
        f"{path}: {_at(one[0], one[1])} says {first}, {_at(other[0], other[1])} says {second}; "
        "let them agree, or set it on the host itself"
    )


def _union(values: Sequence[tuple[Source, Model, Any]], path: str, provenance: Provenance) -> tuple[Any, ...]:
    joined: dict[Any, None] = {}
    for source, model, value in values:
        for item in value:
            joined.setdefault(item)
            provenance.setdefault(f"{path}[{item}]", []).append(_at(source, model))
    return tuple(joined)


def _items(values: Sequence[tuple[Source, Model, Any]], path: str, provenance: Provenance) -> tuple[Item, ...]:
    joined: dict[str, tuple[Source, Model, Item]] = {}
    for source, model, value in values:
        for item in value:
            known = joined.get(item.ident)
            where = f"{path}[{item.ident}]"
            if known is None or source.own:
                joined[item.ident] = (source, model, item)
                provenance[where] = [_at(source, item)]
            elif known[2] != item:
                raise InputError(_disagreement(where, known, (source, model, item)))
            else:
                provenance[where].append(_at(source, item))
    return tuple(item for _, _, item in joined.values())
