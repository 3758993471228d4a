"""What goes wrong between us and a vCenter, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploys.errors import InputError

if TYPE_CHECKING:
    from pyVmomi import vmodl


class VSphereError(InputError):
    """A vCenter refuses, cannot be reached, or is not the one that it should be."""


class UnreachableError(VSphereError):
    """It does not answer: it is down, or something between us is."""


class UnansweredError(VSphereError):
    """A call that changes something got no answer: whether it was carried out is to be looked at, never guessed."""


def said(fault: vmodl.MethodFault) -> str:
    """A fault of the API as a person reads it: its own words, and the name of its type."""
    words = str(getattr(fault, "msg", "") or "").strip().rstrip(".")
    kind = type(fault).__name__.rpartition(".")[2]
    causes = [getattr(each, "message", None) for each in getattr(fault, "faultMessage", None) or ()]
    more = [str(word) for word in (getattr(fault, "reason", None), *causes) if word]
    return f"{'; '.join(dict.fromkeys([word for word in (words, *more) if word])) or 'no words'} ({kind})"
