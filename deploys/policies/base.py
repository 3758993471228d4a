"""The contract of a policy: one typed object that is applied, checked and reported.

`apply()` calls operations and is the only method that touches pyinfra. `checks()` is pure data: each check says what
it proves, how it is read from the host through testinfra, and what must be seen; it never reads through the facts
that planned the change. Every field of a policy changes at least one check or is named in `unproved` with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pydantic
from pydantic import BaseModel, ConfigDict, PrivateAttr
from typing_extensions import override

from deploys.errors import InputError, caller, explain_validation

if TYPE_CHECKING:
    from testinfra.host import Host


class Risk(StrEnum):
    """The worst that applying a policy can do to a host that is in use."""

    NONE = "none"
    SERVICE = "service"
    CONNECTIVITY = "connectivity"
    REBOOT = "reboot"


class Model(BaseModel):  # noqa: PLW1641 - pydantic makes the hash of a frozen model
    """A frozen value that refuses unknown fields, with errors that name the user's own file and line."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)

    _origin: str = PrivateAttr(default="")

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _with_origin(cls, value: Any, handler: pydantic.ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401
        if isinstance(value, cls):
            return value
        try:
            made = handler(value)
        except pydantic.ValidationError as error:
            raise cls._refusal(value, explain_validation(cls, error)) from None
        wrong = list(made.contradictions())
        if wrong:
            raise cls._refusal(value, wrong)
        made._origin = caller()  # noqa: SLF001 - our own class
        return made

    @override
    def __eq__(self, other: object) -> bool:
        # Pydantic would compare where the objects were written as well.
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def contradictions(self) -> Iterable[str]:
        """What is wrong between fields that are right by themselves; said when the object is made."""
        return ()

    @classmethod
    def _refusal(cls, given: object, findings: Iterable[str]) -> InputError:
        where = caller()
        lines = [f"{cls._label(given)}: {finding}" for finding in findings]
        return InputError("\n    ".join([*lines, *([f"at {where}"] if where else [])]))

    @classmethod
    def _label(cls, given: object) -> str:  # noqa: ARG003 - items look at it
        """How an error names what could not be made."""
        return cls.__name__

    @property
    def origin(self) -> str:
        """`file:line` where the user wrote this."""
        return self._origin


def of_a_group() -> Any:  # noqa: ANN401 - it stands for a field of any type
    """A field that must be given, though not by each of the groups that have the policy: `problems` says when none has.

    Until then it is None.
    """
    return pydantic.Field(default=None, validate_default=False)


class Item(Model):
    """An element of a policy's list. Lists of several groups are joined by the field `identity`."""

    identity: ClassVar[str] = "name"

    @classmethod
    @override
    def _label(cls, given: object) -> str:
        name = given.get(cls.identity) if isinstance(given, Mapping) else None
        return f"{cls.__name__} {name!r}" if isinstance(name, str) else cls.__name__

    @property
    def ident(self) -> str:
        """What tells this item from the others of its list."""
        return str(getattr(self, self.identity))


@dataclass(frozen=True)
class Check:
    """One thing that is true on a host that follows its policy.

    Args:
        id: stable name, the policy's name first: `firewall.default-drop`.
        field: the policy field it proves, dotted, list items by key: `rules[http]`.
        proves: a sentence, true when the check passes.
        read: takes a testinfra host, returns what is there. It may run commands, and must not change anything.
        expect: what `read` must return, or `Contains`.
        needs: id of an earlier check of the same policy; when that one has failed, this one cannot tell anything.
        rules: ids of the rules of a security guide that it proves (see the hardening policy).
    """

    id: str
    field: str
    proves: str
    read: Callable[[Host], object]
    expect: object
    needs: str | None = None
    rules: tuple[str, ...] = ()


def file_check(check: str, field: str, path: str, mode: str) -> Check:
    """The check that a file of a policy belongs to root and has its mode."""
    return Check(
        id=check,
        field=field,
        proves=f"{path} belongs to root, with mode {mode}",
        read=lambda host: host.check_output("stat -Lc %s %s", "%a %U:%G", path),
        expect=f"{mode} root:root",
    )


@dataclass(frozen=True)
class Contains:
    """Expects that all of `items` are in what was read."""

    items: tuple[str, ...]

    def met_by(self, actual: object) -> bool:
        """Whether what was read is as expected."""
        return isinstance(actual, (list, tuple, set, frozenset, str)) and all(item in actual for item in self.items)

    def __str__(self) -> str:
        return "at least " + ", ".join(map(repr, self.items))


_TOO_MUCH = {"", "/etc", "/var", "/usr", "/root", "/home"}


@dataclass(frozen=True)
class Undo:
    """The way back of a policy that could cut the connection: what it touches, saved before and put back.

    What is no file is a matter of three shell functions, POSIX, called as root on the host with a directory `$saved`:
    `save_running` notes there what is in force, `restore_running` makes what was put back hold (the opposite of what
    the policy's operations do after their changes), `check_running` prints a line for each thing that is not as it was.

    Args:
        paths: absolute paths of files and directories, whether they are there or not; `~ops/` is a user's home. A
            directory is put back whole.
        running: the text of these functions.
    """

    paths: tuple[str, ...]
    running: str = ""

    def __post_init__(self) -> None:
        for path in self.paths:
            if path.rstrip("/") in _TOO_MUCH or not path.startswith(("/", "~")) or "\n" in path:
                message = f"{path!r} is nothing that a guard could save"
                raise ValueError(message)


class Policy(Model):
    """What one part of a host must be like. Subclasses are listed once, in `deploys.policies.POLICIES`."""

    name: ClassVar[str]
    risk: ClassVar[Risk]
    of_host: ClassVar[bool] = True
    """Whether it is about what a login on the host shows; False for the machine itself (deploys/vm.py)."""
    unproved: ClassVar[Mapping[str, str]] = {}
    """Fields without a check, each with the reason why it cannot be checked on the host."""

    _rules: Mapping[str, tuple[str, ...]] = PrivateAttr(default_factory=dict)

    @property
    def fulfils(self) -> Mapping[str, tuple[str, ...]]:
        """Field, or `check:` and a check's id -> the rules of a security guide that it fulfils on this host."""
        return self._rules

    def fulfilling(self, rules: Mapping[str, tuple[str, ...]]) -> Self:
        """The same policy, with the rules that its fields fulfil."""
        copy = self.model_copy()
        copy._rules = rules  # noqa: SLF001 - our own class
        return copy

    def rules_of(self, check: Check) -> tuple[str, ...]:
        """The rules that a check proves: its own, and those of the field that it looks at."""
        places = (f"check:{check.id}", check.field, check.field.rpartition(".")[0])
        found = [*check.rules, *(rule for place in places if place for rule in self._rules.get(place, ()))]
        return tuple(dict.fromkeys(found))

    @override
    def contradictions(self) -> Iterable[str]:
        for field in type(self).model_fields:
            value = getattr(self, field)
            keys = [item.ident for item in value if isinstance(item, Item)] if isinstance(value, tuple) else []
            yield from sorted(
                {f"{field}: {key!r} is given {keys.count(key)} times" for key in keys if keys.count(key) > 1}
            )

    def problems(self) -> Iterable[str]:
        """What is wrong with the effective policy of a host, beyond single fields. Called after the merge."""
        return ()

    def prepare(self) -> None:
        """Call the operations that come before `apply` and its guard: what takes its time and cannot cut anything."""

    def conflicts(self, others: Mapping[str, Policy]) -> Iterable[str]:  # noqa: ARG002 - policies look at it
        """What is wrong between this effective policy and the host's other ones, by name. Called after the merge."""
        return ()

    def apply(self) -> None:
        """Call the operations that make the current pyinfra host follow this policy."""
        raise NotImplementedError

    def undo(self) -> Undo | None:
        """How to undo what `apply` does; a policy whose risk is connectivity has one, and is then guarded."""
        return None

    def checks(self) -> Iterable[Check]:
        """Everything that is true on a host that follows this policy. Pure: no connection is used here."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """For `debug-inventory --json`; secrets appear as references."""
        return self.model_dump(mode="json")
