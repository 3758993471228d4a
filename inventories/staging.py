"""Staging: the three roles of production, one host of each, on a network of their own.

The policies are production's (inventories/_roles.py); what differs is said here, on top.
"""

from deploys.policies.ssh import Ssh
from inventories import _roles
from inventories._fleet import fleet, group, host

base = group("base", *_roles.EVERY_HOST)
containers = group("containers", *_roles.RUNS_CONTAINERS)
web = group("web", *_roles.WEB)
db = group("db", *_roles.DATABASE)
cache = group("cache", *_roles.CACHE)

# People look around here: more sessions, and forwarding for debuggers.
debug = group("debug", Ssh(tcp_forwarding="local", max_sessions=20))

hosts = fleet(
    host("web-staging-1", base, containers, web, debug, address="198.51.100.11", ssh_user="root"),
    host("db-staging-1", base, db, debug, address="198.51.100.21", ssh_user="root"),
    host("cache-staging-1", base, containers, cache, debug, address="198.51.100.31", ssh_user="root"),
)
