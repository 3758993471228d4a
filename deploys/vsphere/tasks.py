"""Waiting for tasks: all of a run together, on one collector of our own.

pyvmomi's own WaitForTask shares the session's one collector, so that two waiters take each other's news away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pyVmomi import vim, vmodl

from deploys.vsphere.errors import VSphereError, said
from deploys.vsphere.session import Content, Session

WAIT_SECONDS = 10
"""The longest that one call waits for news; well below the end of a call that is not answered."""
TASK_SECONDS = 3600
"""The end of a task that says nothing more."""
GATHER_SECONDS = 0.05
"""New tasks of that time are shown to the collector together."""


class TaskError(VSphereError):
    """A task ended with a fault.

    Args:
        fault: as the vCenter gives it; what it names may say whose the trouble is.
    """

    def __init__(self, message: str, fault: vmodl.MethodFault | None) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass
class _Waited:
    task: Any
    done: threading.Event = field(default_factory=threading.Event)
    state: str = ""
    result: Any = None
    error: Any = None
    lost: VSphereError | None = None
    shown: bool = False


class Tasks:
    """The tasks of a session that are under way, at most so many at once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._slots = threading.BoundedSemaphore(session.vcenter.tasks)
        self._waited: dict[str, _Waited] = {}
        self._lock = threading.Lock()
        self._pump: threading.Thread | None = None
        self._view: Any = None

    @contextmanager
    def slot(self) -> Iterator[None]:
        """One of the tasks that a run may have under way."""
        with self._slots:
            yield

    def result(self, task: Any, what: str, seconds: float = TASK_SECONDS) -> Any:  # noqa: ANN401 - pyvmomi's objects
        """What a task came to.

        Args:
            task: as a method ending in `_Task` returned it.
            what: for the error: "the clone of web-1".
            seconds: after which the task is left to itself.

        Raises:
            TaskError: it ended with a fault.
            VSphereError: it did not end in time, or the vCenter does not answer any more.
        """
        waited = _Waited(task)
        with self._lock:
            self._waited[_moid(task)] = waited
            if self._pump is None or not self._pump.is_alive():
                self._pump = threading.Thread(target=self._run, name="vSphere tasks", daemon=True)
                self._pump.start()
        self._show()
        ended = waited.done.wait(seconds)
        with self._lock:
            self._waited.pop(_moid(task), None)
        if waited.lost is not None:
            raise waited.lost
        if not ended:
            message = f"{what}: the task did not end within {seconds:.0f} s; it goes on at the vCenter"
            raise VSphereError(message)
        if waited.state == "error":
            message = f"{what}: {said(waited.error) if waited.error is not None else 'it failed without a reason'}"
            raise TaskError(message, waited.error)
        return waited.result

    def _pending(self) -> list[_Waited]:
        with self._lock:
            return [each for each in self._waited.values() if not each.done.is_set()]

    def _run(self) -> None:
        """Wait for news until nothing is waited for."""
        while pending := self._pending():
            try:
                self._session.read(self._watch)
            except VSphereError as error:
                for each in pending:
                    each.lost = error
                    each.done.set()

    def _show(self) -> None:
        """Let the collector see tasks that it does not know; it answers at once with what they are."""
        with self._lock:
            new = [each for each in self._waited.values() if not each.shown]
            if self._view is None or not new:
                return
            for each in new:
                each.shown = True
        try:
            self._view.ModifyListView(add=[each.task for each in new])
        except Exception:  # noqa: BLE001 - whatever it is, the one who waits for news meets it too, and begins anew
            return

    def _watch(self, content: Content) -> None:
        collector = content.propertyCollector.CreatePropertyCollector()
        try:
            time.sleep(GATHER_SECONDS)
            pending = self._pending()
            view = content.viewManager.CreateListView(obj=[each.task for each in pending])
            for each in pending:
                each.shown = True
            try:
                collector.CreateFilter(_filter(view), partialUpdates=True)
                self._view = view
                self._until_all_ended(collector)
            finally:
                self._view = None
                view.DestroyView()
        finally:
            for each in self._pending():
                each.shown = False
            collector.DestroyPropertyCollector()

    def _until_all_ended(self, collector: Any) -> None:  # noqa: ANN401 - pyvmomi's objects
        version = ""
        options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=WAIT_SECONDS)
        while self._pending():
            self._show()
            news = collector.WaitForUpdatesEx(version, options)
            if news is not None:
                version = news.version
                with self._lock:
                    _take(news, self._waited)


def _moid(task: Any) -> str:  # noqa: ANN401 - pyvmomi's objects
    return str(task._moId)  # noqa: SLF001 - its only name


def _filter(view: Any) -> Any:  # noqa: ANN401 - pyvmomi's objects
    query = vmodl.query.PropertyCollector
    step = query.TraversalSpec(name="tasks", path="view", skip=False, type=vim.view.ListView)
    return query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=view, skip=True, selectSet=[step])],
        propSet=[query.PropertySpec(type=vim.Task, all=False, pathSet=["info.state", "info.result", "info.error"])],
    )


def _take(news: Any, watched: dict[str, _Waited]) -> None:  # noqa: ANN401 - pyvmomi's objects
    for each in (update for found in news.filterSet for update in found.objectSet):
        waited = watched.get(_moid(each.obj))
        if waited is None:
            continue
        if str(each.kind) == "leave":
            # The vCenter forgets tasks of which nobody heard the end.
            waited.lost = VSphereError("a task was forgotten by the vCenter before its end was heard of")
            waited.done.set()
            continue
        for change in each.changeSet:
            if change.name == "info.state":
                waited.state = str(change.val)
            elif change.name == "info.result":
                waited.result = change.val
            elif change.name == "info.error":
                waited.error = change.val
        if waited.state in {"success", "error"}:
            waited.done.set()
