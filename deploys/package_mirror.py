"""Fetch what is new for a mirror of packages, or promote a snapshot of it.

pyinfra inventories/prod.py deploys/package_mirror.py --data sync=true
pyinfra inventories/prod.py deploys/package_mirror.py --data promote=prod     (what staging names)
pyinfra inventories/prod.py deploys/package_mirror.py --data promote=prod --data snapshot=20261129T101500Z
"""

from deploys._publish import publish
from deploys.policies.package_mirror import PackageMirror

publish(__file__, PackageMirror, "snapshot")
