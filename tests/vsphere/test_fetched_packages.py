"""OVA files at https URLs: fetched when a template is made of one, from whom the URL says."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploys.errors import InputError
from deploys.policies.vm import Adapter, Vm
from deploys.vsphere.crew import Crew
from deploys.vsphere.fetch import RemotePackage
from deploys.vsphere.package import PackageError
from deploys.vsphere.templates import Origin
from tests.lab import vcenter
from tests.vsphere import soap
from tests.vsphere.bringing_up import PASSWORD, settings
from tests.vsphere.test_packages import ova


class Server:
    """An https server on this machine, of a certificate of its own, that counts what it is asked."""

    def __init__(self, place: Path) -> None:
        self.certificate, key = place / "certificate.pem", place / "key.pem"
        made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x".split()
        files = ["-keyout", str(key), "-out", str(self.certificate)]
        command = ["openssl", *made, *files, "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run(command, check=True, capture_output=True)
        self.asked: list[str] = []
        self.package = ova(place / "photon.ova").read_bytes()
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                body = {"/photon.ova": server.package, "/cut.ova": server.package[:-20000]}.get(self.path, b"")
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture
def server(tmp_path: Path, monkeypatch) -> Iterator[Server]:
    made = Server(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=1)


def test_it_is_fetched_once_and_its_template_cloned_from_then_on(simulator, server, monkeypatch) -> None:
    monkeypatch.setenv(PASSWORD, simulator.password)
    policy = Vm(
        vcenter=settings(simulator), folder="DC0/x", cluster="DC0_C0", datastore="LocalDS_0",
        ovf=f"{server.url}/photon.ova", adapters=[Adapter(index=0, network="DC0_DVPG0")],
    )  # fmt: skip
    assert list(policy.problems()) == []
    assert server.asked == []
    source, path = policy.source(), policy.template_path()
    assert source is not None
    for _ in range(2):
        crew = Crew(settings(simulator), {})
        crew.templates.provide(path, Origin(source, "m", "DC0_C0", (), "LocalDS_0", "DC0_DVPG0"))
        crew.session.close()
    assert server.asked == ["/photon.ova"]
    with soap.session(simulator) as content:
        (made,) = soap.find(content, "DC0/vm/photon-fleet-templates").childEntity
        assert made.config.template
        assert made.name.startswith("photon-")


def test_a_path_may_be_written_as_text(simulator, tmp_path: Path) -> None:
    for given in (ova(tmp_path / "a.ova"), str(tmp_path / "a.ova")):
        assert Vm(vcenter=settings(simulator), folder="DC0/x", cluster="C", ovf=given).ovf == tmp_path / "a.ova"


def test_what_cannot_be_fetched_is_told(server, monkeypatch) -> None:
    for name, complaint in (("none.ova", "HTTP Error 404"), ("cut.ova", "cannot be read|is not what")):
        with pytest.raises(PackageError, match=complaint), RemotePackage(f"{server.url}/{name}").fetched() as found:
            found.check()
    monkeypatch.delenv("SSL_CERT_FILE")
    unknown = RemotePackage(f"{server.url}/photon.ova")
    with pytest.raises(PackageError, match="CERTIFICATE_VERIFY_FAILED"), unknown.fetched():
        pass


@pytest.mark.parametrize(
    ("url", "complaint"),
    [("http://x/a.ova", "no https"), ("https://x/a.ovf", "no https"),
     ("https://me:secret@x/a.ova", "fetch the file yourself"), ("https:///a.ova", "no https"),
     ("https://x/a b.ova", "no https"), ("https://[x/a.ova", "is no URL")],
)  # fmt: skip
def test_what_is_no_url_of_a_package(simulator, url: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as refusal:
        Vm(vcenter=settings(simulator), folder="DC0/x", cluster="C", ovf=url)
    assert complaint != "fetch the file yourself" or "secret" not in str(refusal.value)
