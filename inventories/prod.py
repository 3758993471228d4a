"""Production, as an example to copy: three roles, several groups that give the same policy.

Replace addresses, keys and images by yours; pin the hosts' keys in inventories/known_hosts. Then

    pyinfra inventories/prod.py deploys/host.py --dry
    pyinfra inventories/prod.py deploys/host.py
    pytest tests/hosts --inventory inventories/prod.py
"""

from deploys.policies.firewall import Firewall
from deploys.policies.firewall_rules import Rule
from inventories import _roles
from inventories._fleet import fleet, group, host

base = group("base", *_roles.EVERY_HOST)
containers = group("containers", *_roles.RUNS_CONTAINERS)
web = group("web", *_roles.WEB)
db = group("db", *_roles.DATABASE)
cache = group("cache", *_roles.CACHE)

# Prometheus scrapes these hosts; the rule joins those of their roles.
monitored = group("monitored", Firewall(rules=[Rule(name="node-exporter", ports=[9100], sources=["192.0.2.250/32"])]))

hosts = fleet(
    host("web-1", base, containers, web, monitored, address="192.0.2.11", ssh_user="root"),
    host("web-2", base, containers, web, monitored, address="192.0.2.12", ssh_user="root"),
    host("web-3", base, containers, web, monitored, address="192.0.2.13", ssh_user="root"),
    host("db-1", base, db, monitored, address="192.0.2.21", ssh_user="root"),
    # This one also serves the reporting network.
    host(
        "db-2",
        base,
        db,
        monitored,
        Firewall(rules=[Rule(name="reporting", ports=[5432], sources=["203.0.113.0/24"])]),
        address="192.0.2.22",
        ssh_user="root",
    ),
    host("cache-1", base, containers, cache, address="192.0.2.31", ssh_user="root"),
)
