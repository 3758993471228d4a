"""pyvmomi against a simulator: a session, lookups, and waiting for a task."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from pyVmomi import SoapStubAdapter, vim

from tests.lab.vcenter import VCenter


def stub(simulator: VCenter, version: str = "vim.version.v8_0_3_0", **options: Any) -> Any:
    """An adapter whose TLS context accepts this simulator alone."""
    return SoapStubAdapter(
        host=simulator.host, port=simulator.port, version=version, sslContext=simulator.context(), **options
    )


@contextlib.contextmanager
def session(simulator: VCenter, **options: Any) -> Iterator[Any]:
    """The content of the service, logged in; logged out at the end if it still can be."""
    content = vim.ServiceInstance("ServiceInstance", stub(simulator, **options)).RetrieveContent()
    content.sessionManager.Login(simulator.user, simulator.password, None)
    try:
        yield content
    finally:
        with contextlib.suppress(vim.fault.NotAuthenticated):
            content.sessionManager.Logout()


def find(content: Any, path: str) -> Any:
    found = content.searchIndex.FindByInventoryPath(path)
    assert found is not None, path
    return found


def done(task: Any, seconds: float = 20) -> Any:
    """The result of a task; its fault is raised."""
    until = time.monotonic() + seconds
    while (info := task.info).state not in ("success", "error"):
        assert time.monotonic() < until, info
        time.sleep(0.02)
    if info.state == "error":
        raise info.error
    return info.result


def eventually(condition: Any, seconds: float = 10) -> Any:
    """The first true value of a function without arguments."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, "it did not become so"
        time.sleep(0.02)
    return value
