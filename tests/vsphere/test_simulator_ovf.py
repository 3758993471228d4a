"""An OVF import at the simulator: descriptor, lease, upload, and a VM like any other."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit

import pytest
from pyVmomi import vim

from tests.lab import vcenter
from tests.vsphere import soap

OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References><File ovf:href="disk1.vmdk" ovf:id="file1" ovf:size="1024"/></References>
  <DiskSection><Info>Disks</Info>
    <Disk ovf:capacity="16" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="disk1" ovf:fileRef="file1"
      ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection><Info>Networks</Info>
    <Network ovf:name="None"><Description>None</Description></Network>
  </NetworkSection>
  <VirtualSystem ovf:id="photon"><Info>A VM</Info><Name>photon</Name>
    <OperatingSystemSection ovf:id="36" vmw:osType="vmwarePhoton64Guest"><Info>Photon</Info></OperatingSystemSection>
    <VirtualHardwareSection><Info>Hardware</Info>
      <System><vssd:ElementName>Family</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType></System>
      <Item><rasd:ElementName>2 CPUs</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
      <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ElementName>2048MB</rasd:ElementName>
        <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>2048</rasd:VirtualQuantity></Item>
      <Item><rasd:Address>0</rasd:Address><rasd:ElementName>SCSI</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>disk1</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/disk1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>1</rasd:AddressOnParent><rasd:Connection>None</rasd:Connection>
        <rasd:ElementName>ethernet0</rasd:ElementName><rasd:InstanceID>5</rasd:InstanceID>
        <rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"""


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=1)


def imported(content: Any, name: str) -> Any:
    """The lease of an import."""
    pool, folder = soap.find(content, "DC0/host/DC0_C0/Resources"), soap.find(content, "DC0/vm")
    datacenter = soap.find(content, "DC0")
    mapping = vim.OvfManager.NetworkMapping(name="None", network=datacenter.network[0])
    parameters = vim.OvfManager.CreateImportSpecParams(entityName=name, networkMapping=[mapping])
    spec = content.ovfManager.CreateImportSpec(OVF, pool, datacenter.datastore[0], parameters)
    assert not spec.error, spec.error
    return pool.ImportVApp(spec.importSpec, folder)


def upload(simulator: vcenter.VCenter, url: str) -> int:
    connection = http.client.HTTPSConnection(simulator.host, simulator.port, context=simulator.context(), timeout=10)
    connection.request("PUT", urlsplit(url).path, b"x" * 1024)
    status = connection.getresponse().status
    connection.close()
    return status


def test_an_import_makes_a_vm_like_any_other(simulator: vcenter.VCenter) -> None:
    with soap.session(simulator) as content:
        vms = []
        for name in ("one", "two"):
            lease = imported(content, name)
            assert lease.state == "ready"
            assert [upload(simulator, each.url) for each in lease.info.deviceUrl if each.disk] == [200]
            lease.HttpNfcLeaseProgress(100)
            lease.HttpNfcLeaseComplete()
            vms.append(soap.find(content, f"DC0/vm/{name}"))
        assert [(vm.config.hardware.numCPU, vm.config.guestId) for vm in vms] == [(2, "vmwarePhoton64Guest")] * 2
        cards = [
            each.macAddress for vm in vms for each in vm.config.hardware.device
            if isinstance(each, vim.vm.device.VirtualEthernetCard)
        ]  # fmt: skip
        assert len(set(cards)) == len({vm.config.instanceUuid for vm in vms}) == 2
        assert all(vm.config.changeVersion for vm in vms)
        with pytest.raises(vim.fault.DuplicateName):
            imported(content, "one")
        soap.done(vms[0].PowerOnVM_Task())
        assert soap.eventually(lambda: vms[0].guest.ipAddress).startswith("10.9.")
