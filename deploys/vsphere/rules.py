"""Rules of a cluster that keep machines on different ESXi hosts; a rule is written as a whole, by one at a time."""

from __future__ import annotations

import threading
from typing import Any

from pyVmomi import vim

from deploys.vsphere.errors import VSphereError
from deploys.vsphere.hands import Hands
from deploys.vsphere.places import Places
from deploys.vsphere.reads import of_these
from deploys.vsphere.session import Session


class Rules:
    """The anti-affinity rules of clusters, each cluster read once until something changes there."""

    def __init__(self, session: Session, hands: Hands) -> None:
        self._session = session
        self._hands = hands
        self._known: dict[str, list[Any]] = {}
        self._lock = threading.Lock()

    def holds(self, places: Places, datacenter: str, cluster: str, rule: str, moid: str) -> bool:
        """Whether a machine is in the rule."""
        with self._lock:
            found = self._named(places.cluster(datacenter, cluster), rule)
        return found is not None and moid in {each._moId for each in found.vm}  # noqa: SLF001 - its only name

    def add(self, places: Places, datacenter: str, cluster: str, rule: str, moid: str) -> None:
        """Put a machine into the rule; with the first two it is made.

        Raises:
            VSphereError: the vCenter refuses, or the rule's name is another kind of rule's.
        """
        with self._lock:
            place = places.cluster(datacenter, cluster)
            self._known.pop(place._moId, None)  # noqa: SLF001 - its only name
            found = self._named(place, rule)
            members = {each._moId: each for each in (found.vm if found is not None else ())}  # noqa: SLF001
            members[moid] = self._session.managed(moid, vim.VirtualMachine)
            wanted = found or vim.cluster.AntiAffinityRuleSpec(name=rule, enabled=True, userCreated=True)
            wanted.vm = list(members.values())
            change = vim.cluster.RuleSpec(operation="add" if found is None else "edit", info=wanted)
            spec = vim.cluster.ConfigSpecEx(rulesSpec=[change])
            try:
                self._hands.task(
                    lambda _: place.ReconfigureComputeResource_Task(spec, modify=True), f"the rule {rule} of {cluster}"
                )
            finally:
                self._known.pop(place._moId, None)  # noqa: SLF001 - its only name

    def _named(self, cluster: Any, rule: str) -> Any:  # noqa: ANN401 - pyvmomi's objects
        moid = cluster._moId  # noqa: SLF001 - its only name
        if moid not in self._known:
            row = self._session.read(lambda content: of_these(content, [cluster], ["configurationEx"]))
            self._known[moid] = (
                list(getattr(row[moid][1].get("configurationEx"), "rule", None) or ()) if moid in row else []
            )
        for each in self._known[moid]:
            if each.name == rule:
                if not isinstance(each, vim.cluster.AntiAffinityRuleSpec):
                    message = f"the rule {rule!r} is there, and keeps no machines apart"
                    raise VSphereError(message)
                return each
        return None
