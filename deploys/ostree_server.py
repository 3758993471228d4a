"""Fetch what is new for a curated OSTree repository, or promote a commit of it.

pyinfra inventories/prod.py deploys/ostree_server.py --data sync=true
pyinfra inventories/prod.py deploys/ostree_server.py --data promote=prod     (what staging names)
pyinfra inventories/prod.py deploys/ostree_server.py --data promote=prod --data commit=a97cc3d2...
"""

from deploys._publish import publish
from deploys.policies.ostree_server import OstreeServer

publish(__file__, OstreeServer, "commit")
