"""One session with a vCenter for a run: logged in once, always closed.

A read that finds its session gone, or gets no answer, is done again. A write that gets no answer is never repeated
here: whether it was carried out is for the caller to look at (`UnansweredError`). A password that was refused once is
not sent again in this run: repeats are what locks accounts.
"""

from __future__ import annotations

import atexit
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from types import FrameType
from typing import Any, NoReturn, TypeVar
from xml.parsers.expat import ExpatError

from pyVim.connect import SmartStubAdapter
from pyVmomi import vim, vmodl

from deploys.policies.vcenter import VCenter
from deploys.vsphere.errors import UnansweredError, UnreachableError, VSphereError, said
from deploys.vsphere.tls import CONNECT_SECONDS, context

T = TypeVar("T")

Content = Any
"""vim.ServiceInstanceContent: all of whose parts may be missing by their types, and are there on every vCenter."""

ANSWER_SECONDS = 120
"""The end of a call that is not answered; longer than the longest wait that we ask a vCenter for."""
READS = 4
"""How often a read is tried, and a write that surely was not carried out."""
PAUSE_SECONDS = 0.5
"""Before the second try of a read; twice as long before each further one."""

# What the connection does when it breaks, and what a proxy in front of the vCenter answers (503).
_LOST = (OSError, HTTPException, ExpatError)

_OPEN: dict[VCenter, Session] = {}


def session(vcenter: VCenter) -> Session:
    """The session of this run with a vCenter. It is closed when the program ends, also by SIGTERM."""
    if vcenter not in _OPEN:
        if not _OPEN:
            atexit.register(close_all)
            if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) in {
                signal.SIG_DFL, None,
            }:  # fmt: skip
                signal.signal(signal.SIGTERM, _terminated)
        _OPEN[vcenter] = Session(vcenter)
    return _OPEN[vcenter]


def close_all() -> None:
    """End every session of this run."""
    while _OPEN:
        _OPEN.popitem()[1].close()


def _terminated(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


class Session:
    """What is said to one vCenter; it logs in with the first call."""

    def __init__(self, vcenter: VCenter) -> None:
        self.vcenter = vcenter
        self.context: ssl.SSLContext | None = None
        self._stub: Any = None
        self._content: Any = None
        self._lock = threading.RLock()
        self._refused: VSphereError | None = None
        self._at_close: list[Callable[[], None]] = []
        self._closed = False

    @property
    def content(self) -> Content:
        """The root of the API, of a session that is logged in.

        Raises:
            VSphereError: no such vCenter, not the one that it should be, or the login is refused.
        """
        return self.read(lambda content: content)

    def _logged_in(self) -> Content:
        with self._lock:
            if self._refused is not None:
                raise self._refused
            if self._closed:
                message = "its session was closed"
                raise self._error(message)
            if self._content is None:
                self._log_in()
            return self._content

    def cookie(self) -> str:
        """What tells the vCenter that a request of another kind (a ticket, an upload) is of this session."""
        return str(self._stub.cookie)

    def managed(self, moid: str, kind: type[T]) -> T:
        """The object of that id, bound to this session."""
        self.content  # noqa: B018 - logs in
        return kind(moid, self._stub)  # type: ignore[call-arg]

    def read(self, what: Callable[[Content], T]) -> T:
        """The result of calls that change nothing; tried again when the session or an answer is lost.

        `what` may be called several times: views and collectors that it makes are of one session only.

        Raises:
            VSphereError: the vCenter refuses, or does not answer.
        """
        pause = PAUSE_SECONDS
        for left in reversed(range(READS)):
            content: Content = None
            try:
                content = self._logged_in()
                return what(content)
            except vim.fault.NotAuthenticated as fault:
                self._forget(content, fault, left)
            except vmodl.MethodFault as fault:
                # What was made in a session is gone with it, also when another thread has met its end first.
                of_an_ended_one = isinstance(fault, vmodl.fault.ManagedObjectNotFound) and self._content is not content
                if not of_an_ended_one or not left:
                    raise self._error(said(fault)) from fault
            except _LOST as error:
                if not left:
                    message = f"vCenter {self.vcenter.place}: no answer, {READS} times: {_words(error)}"
                    raise UnreachableError(message) from error
                time.sleep(pause)
                pause *= 2
        raise AssertionError

    def write(self, what: Callable[[Content], T]) -> T:
        """The result of one call that changes something; it is sent again only where it was surely not carried out.

        Raises:
            UnansweredError: no answer; look whether it was carried out.
            vmodl.MethodFault: the vCenter refuses.
            VSphereError: there is no session to be had.
        """
        for left in reversed(range(READS)):
            content = self.content
            try:
                return what(content)
            except vim.fault.NotAuthenticated as fault:
                # Refused before anything was done: the session had ended.
                self._forget(content, fault, left)
            except _LOST as error:
                message = f"vCenter {self.vcenter.place}: no answer to a call: {_words(error)}"
                raise UnansweredError(message) from error
        raise AssertionError

    def at_close(self, do: Callable[[], None]) -> None:
        """Call `do` before the session is closed."""
        self._at_close.append(do)

    def close(self) -> None:
        """Log out. A vCenter that does not answer any more ends the session by itself."""
        with self._lock:
            if _OPEN.get(self.vcenter) is self:
                del _OPEN[self.vcenter]
            while self._at_close:
                with suppress(Exception):
                    self._at_close.pop()()
            if self._content is not None:
                with suppress(vmodl.MethodFault, *_LOST):
                    self._content.sessionManager.Logout()
            self._content = None
            # Who still waits for news in another thread must not log in anew: nobody would end that session.
            self._closed = True
            if self._stub is not None:
                self._stub.DropConnections()

    def _forget(self, ended: Content, fault: vmodl.MethodFault, left: int) -> None:
        """Log in anew for the next try, unless another thread has done so since: who is logged in cannot log in.

        Raises:
            VSphereError: no try is left.
        """
        with self._lock:
            if self._content is ended:
                self._content = None
        if not left:
            raise self._error(f"it ended the session {READS} times before it served a call: {said(fault)}") from fault

    def _log_in(self) -> None:
        vcenter = self.vcenter
        # Resolved before the first connection: a secret that cannot be had leaves no trace there.
        password = vcenter.password.resolve()
        try:
            if self._stub is None:
                self.context = context(vcenter)
                self._stub = self._connected(self.context)
            content: Content = vim.ServiceInstance("ServiceInstance", self._stub).RetrieveContent()
            content.sessionManager.Login(userName=vcenter.user, password=password)
        except vim.fault.InvalidLogin as fault:
            self._refused = self._error(
                f"the login of {vcenter.user} with {vcenter.password} is refused ({said(fault)}). It is not tried "
                "again in this run, as that locks accounts."
            )
            raise self._refused from None
        except ssl.SSLCertVerificationError as error:
            raise self._error(f"its certificate is not trusted, and nothing was sent: {_words(error)}") from error
        self._content = content

    def _connected(self, made: ssl.SSLContext) -> Any:  # noqa: ANN401 - pyvmomi has no types for its stubs
        """A stub of the newest version of the API that both sides know."""
        # pyvmomi's first request has no time limit.
        socket.create_connection((self.vcenter.host, self.vcenter.port), timeout=CONNECT_SECONDS).close()
        try:
            return SmartStubAdapter(
                host=self.vcenter.host, port=self.vcenter.port, sslContext=made,
                poolSize=self.vcenter.tasks + 2, httpConnectionTimeout=ANSWER_SECONDS,
            )  # fmt: skip
        except _LOST:
            raise
        except Exception as error:
            # pyvmomi says by nothing narrower that no version document was there.
            raise self._error(f"is no vCenter, or its services are not up: {_words(error)}") from error

    def _error(self, words: str) -> VSphereError:
        return VSphereError(f"vCenter {self.vcenter.place}: {words}")


def _words(error: BaseException) -> str:
    text = str(getattr(error, "strerror", None) or error).strip().rstrip(".")
    return text or type(error).__name__
