"""Hosts whose machines are in clouds: where they are reached, how files get there, and what `@ec2` and `@gce` name."""

from __future__ import annotations

import pytest

from deploys.clouds.machine import Instance
from deploys.errors import InputError
from deploys.policies.cloud_vm import CloudVm
from deploys.policies.clouds import Ec2, Gce
from deploys.vsphere.record import Known, note
from inventories import _clouds
from inventories._clouds import GceConnector, cloud_vms
from inventories._fleet import fleet, host

_POLICY = CloudVm(provider=Ec2(region="eu-central-1"), image="ami-0123456789abcdef0", size="t3.small")


def test_a_host_is_reached_where_its_machine_was_last_seen_and_without_sftp(tmp_path) -> None:
    record = tmp_path / "vms.json"
    ((name, data),) = fleet(host("web-1", _POLICY, vm_record=str(record)))
    assert name == "@photon/web-1"
    assert "run deploys/vm.py" in data["ssh_why_not"]
    note(record, "web-1", Known("ec2:eu-central-1", "i-1", "192.0.2.7"))
    ((_, data),) = fleet(host("web-1", _POLICY, vm_record=str(record)))
    assert (data["ssh_hostname"], data["ssh_file_transfer_protocol"]) == ("192.0.2.7", "scp")
    ((_, data),) = fleet(host("web-1", _POLICY, address="192.0.2.8", ssh_file_transfer_protocol="sftp"))
    assert (data["ssh_hostname"], data["ssh_file_transfer_protocol"]) == ("192.0.2.8", "sftp")


def test_machines_that_are_gone_are_no_hosts(monkeypatch) -> None:
    class Cloud:
        def all(self) -> list[Instance]:
            made = {"place": "gce:acme-prod/europe-west3-a", "zone": "europe-west3-a", "private": ("10.0.0.2",)}
            return [Instance("1", "web-1", state="running", **made), Instance("2", "web-2", state="gone", **made),
                    Instance("3", "web-3", state="REPAIRING", **made)]  # fmt: skip

    monkeypatch.setattr("deploys.clouds.opened.opened", lambda _: Cloud())
    found = {each.name: each.data for each in cloud_vms(Gce(project="acme-prod", zone="europe-west3-a"))}
    assert set(found) == {"web-1", "web-3"}
    assert found["web-1"]["ssh_hostname"] == "10.0.0.2"
    assert found["web-1"]["ssh_file_transfer_protocol"] == "scp"
    assert found["web-3"]["ssh_why_not"] == "it is REPAIRING"
    names = [name for name, _, _ in GceConnector.make_names_data("acme-prod/europe-west3-a?name=*-1")]
    assert names == ["web-1"]


@pytest.mark.parametrize(
    ("connector", "name", "words"),
    [
        (_clouds.Ec2Connector, "Frankfurt", "no region such as"),
        (_clouds.Ec2Connector, None, "no region such as"),
        (_clouds.GceConnector, "acme-prod", "no zone such as"),
        (_clouds.GceConnector, "acme-prod/europe-west3-a?zone=x", "@gce: no such question 'zone'"),
    ],
)
def test_what_the_connectors_refuse(connector, name, words) -> None:
    with pytest.raises(InputError, match=words):
        list(connector.make_names_data(name))
