"""Make a host's virtual machine a template, or a machine again: how a template is patched and put back.

pyinfra inventories/prod.py deploys/fixes/vm_template.py --limit base --data to=machine --data why="patches of May"
pyinfra inventories/prod.py deploys/fixes/update.py --limit base --data why="patches of May"
pyinfra inventories/prod.py deploys/fixes/vm_template.py --limit base --data to=template --data why="patches of May"

A machine is shut down before; one that is no template any more is switched as its policy says, and its guest is waited
for. While it is a template, deploys/vm.py refuses to touch it. Machines that were cloned before stay as they are.
"""

from pyinfra.context import ctx_host

from deploys._run import contained
from deploys.fixes._fix import one_of, option
from deploys.fixes._vm_fix import begin_vm_fix
from deploys.vsphere.bring_up import cluster_of, switch
from operations import vm_templates

option("to")
to = one_of("to", ("template", "machine"))
with contained():
    fix = begin_vm_fix(__file__)
    if to == "template":
        vm_templates.to_template(name="Have it as a template")
    else:
        cluster, pool = cluster_of(fix.policy)
        vm_templates.to_machine(name="Have it as a machine", cluster=cluster, pool=pool)
        switch(ctx_host.get(), fix.policy)
