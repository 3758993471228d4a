"""Machines of a simulated vCenter, made from an empty folder, in three roles. Needs root; see docs/vsphere.md.

python -m tests.lab vcenter --machines &
pyinfra inventories/lab_vsphere.py deploys/vm.py -y
pyinfra inventories/lab_vsphere.py deploys/host.py -y
python -m tests.lab down

LAB_MACHINES=20 makes twenty of them instead of six.
"""

import os

from deploys.policies.accounts import Accounts
from deploys.policies.accounts_models import Group, Root, Sudo, User
from deploys.policies.files import File, Files
from deploys.policies.firewall import Firewall
from deploys.policies.firewall_rules import Rule
from deploys.policies.kernel import Kernel, Setting
from deploys.policies.packages import Packages, Repository, SigningKey
from deploys.policies.ssh import Ssh
from deploys.policies.vm import Adapter, Disk, Vm
from inventories._fleet import fleet, group, host
from inventories._lab import lab_key, lab_machine, lab_network, lab_vcenter

_COUNT = int(os.environ.get("LAB_MACHINES", "6"))
_DATA = lab_machine()
_KEYS = _DATA["first_boot"].keys

# Every machine: where it is, what it is made of, and who may log in from its first boot on.
base = group(
    "base",
    Vm(
        vcenter=lab_vcenter(),
        template="DC0/photon-5",
        cluster="DC0_C0",
        adapters=[Adapter(index=0, network="VM Network")],
        annotation="Kept by Photon Fleet.",
        attributes={"owner": "operators"},
    ),
    Packages(
        keys=[SigningKey(name="photon-lab", **lab_key())],
        repositories=[Repository(id="photon", url="http://packages.lab/photon", key="photon-lab")],
        present=["less"],
    ),
    Accounts(groups=[Group(name="operators", gid=3000)]),
    Kernel(settings=[Setting(key="net.ipv4.tcp_syncookies", value=1)]),
    Files(files=[File(path="/etc/motd", content="This host is kept by Photon Fleet.\n")]),
    Firewall(rules=[Rule(name="ssh", ports=[22], sources=[lab_network()])]),
)

web = group(
    "web",
    Accounts(root=Root(keys=_KEYS)),
    Ssh(root_login="prohibit-password"),
    Vm(folder="DC0/fleet/web", cpus=4, memory_mib=4096, tags={"role": "web"}, apart="web"),
    Packages(present=["htop"]),
    Firewall(rules=[Rule(name="http", ports=[80, 443])]),
)

db = group(
    "db",
    Accounts(root=Root(keys=_KEYS)),
    Ssh(root_login="prohibit-password"),
    Vm(folder="DC0/fleet/db", memory_mib=8192, disks=[Disk(unit=1, gib=20)], tags={"role": "db"}),
    Packages(exact={"jq": "1.7.1"}),
    Firewall(rules=[Rule(name="postgres", ports=[5432], sources=[lab_network()])]),
)

# The first login is another user's than root, so the first boot gives it sudo, which Photon's image does not have.
edge = group(
    "edge",
    Vm(folder="DC0/fleet/edge", cpus=1, memory_mib=1024, tags={"role": "edge"}),
    Accounts(
        users=[User(name="ops", groups=["operators"], keys=_KEYS)],
        sudo=[Sudo(name="ops", who=["ops"], password=False)],
    ),
    Ssh(root_login="no", tcp_forwarding="local"),
    Firewall(rules=[Rule(name="vpn", protocol="udp", ports=[51820])], ping=False),
)

_ROLES = [(web, {}), (db, {}), (edge, {"ssh_user": "ops", "_sudo": True})]
hosts = fleet(
    *(
        host(f"{role.label}-{number // len(_ROLES) + 1}", base, role, **{**_DATA, **login})
        for number, (role, login) in ((number, _ROLES[number % len(_ROLES)]) for number in range(_COUNT))
    )
)
