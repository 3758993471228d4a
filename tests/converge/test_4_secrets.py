"""A secret planted in an inventory: it reaches the container, and nothing that anybody can read on the way."""

from __future__ import annotations

import pytest

from tests.converge.conftest import ROOT, Done, converge, dry, program, prove, run

pytestmark = pytest.mark.lab

PLANTED = "Tr0ub4dor-and-3-horses"


@pytest.fixture
def inventory(variant) -> str:
    planted = 'env={"ROLE": "web", "TOKEN": Secret.env("PLANTED")}'
    return variant({}, "from deploys.policies.secret import Secret", {'env={"ROLE": "web"}': planted})


def test_a_planted_secret_is_in_no_output(converged, inventory, on) -> None:
    host = ("--limit", "web-1")
    outputs: list[Done] = [
        dry("-vvv", "--diff", *host, inventory=inventory, PLANTED=PLANTED),
        dry("--json", *host, inventory=inventory, PLANTED=PLANTED),
        run(program("pyinfra"), inventory, "deploys/host.py", "--debug-operations", *host, PLANTED=PLANTED),
        converge("-vvv", "--debug", "--diff", *host, inventory=inventory, PLANTED=PLANTED),
        converge("-vvv", "--json", *host, inventory=inventory, PLANTED=PLANTED),
        run(program("pyinfra"), inventory, "debug-inventory", "--json", PLANTED=PLANTED),
        prove("-vv", *host, inventory=inventory, PLANTED=PLANTED),
        # A proof that fails shows what it expected and saw.
        prove("-vv", *host, inventory=inventory, PLANTED="another-value"),
        converge("-vvv", *host, inventory=inventory, PLANTED="another\nvalue"),
    ]
    assert outputs[3].status == 0, outputs[3].all
    assert outputs[6].status == 0, outputs[6].all
    assert outputs[7].status == 1
    assert "is something else than Secret.env('PLANTED')" in outputs[7].out
    assert outputs[8].status == 1
    for done in outputs:
        assert PLANTED not in done.all
        assert "another-value" not in done.all
    assert not (ROOT / "pyinfra-debug.log").exists()


def test_it_reached_the_container_and_only_root_can_read_it(converged, inventory, on) -> None:
    assert converge("--limit", "web-1", inventory=inventory, PLANTED=PLANTED).status == 0
    assert on("web-1", "docker exec web env | grep TOKEN").strip() == f"TOKEN={PLANTED}"
    search = f"grep -rls {PLANTED} /etc /tmp /var/tmp /root /var/log /run/log /var/lib/photon-fleet 2>/dev/null || true"
    # Twice: a health check that is being started is in a file of runc's for that moment, of another name each time.
    first, second = (set(on("web-1", search).split()) for _ in range(2))
    assert first & second == {"/var/lib/photon-fleet/env/web"}
    assert on("web-1", "stat -c '%a %U' /var/lib/photon-fleet/env/web").strip() == "600 root"
    assert PLANTED not in on("web-1", "journalctl --no-pager -o cat")


@pytest.fixture(scope="module", autouse=True)
def _as_before(converged):
    yield
    assert converge("--limit", "web-1").status == 0
