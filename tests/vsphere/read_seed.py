"""What cloud-init itself makes of seeds: run by the system's Python with cloud-init in PYTHONPATH.

Reads a JSON list of pairs from standard input: keys of guestinfo, and the machine's cards (MAC -> name). Prints for
each what the VMware datasource of cloud-init reads, what is wrong with the cloud-config by its schema, and the files of
networkd that it would write.
"""

import json
import os
import sys

import yaml
from cloudinit.config.schema import SchemaValidationError, get_schema, validate_cloudconfig_schema
from cloudinit.helpers import Paths
from cloudinit.net import network_state
from cloudinit.net.networkd import Renderer
from cloudinit.sources.DataSourceVMware import DataSourceVMware


def read(keys, cards, schema):
    """One seed."""
    network_state.get_interfaces_by_mac = lambda: cards
    network_state.find_interface_name_from_mac = cards.get
    os.environ.clear()
    os.environ["VMX_GUESTINFO"] = "1"
    os.environ.update({f"vmx.{key}".upper().replace(".", "_"): value for key, value in keys.items()})
    source = DataSourceVMware({}, None, Paths({"cloud_dir": "/nonexistent", "run_dir": "/nonexistent"}))
    if not source._get_data():
        raise SystemExit("cloud-init reads nothing")
    config = yaml.safe_load(source.userdata_raw)
    wrong = []
    try:
        validate_cloudconfig_schema(config, schema=schema, strict=True)
    except SchemaValidationError as error:
        wrong = [str(error)]
    network = source.metadata.get("network")
    state = network_state.parse_net_config_data(network["config"]) if network else None
    return {
        "instance_id": source.get_instance_id(),
        "hostname": source.get_hostname(fqdn=True).hostname,
        "redact": source.metadata["redact"],
        "first_line": source.userdata_raw.splitlines()[0],
        "config": config,
        "wrong": wrong,
        "files": Renderer()._render_content(state) if state else {},
    }


if __name__ == "__main__":
    known = get_schema()
    json.dump([read(keys, cards, known) for keys, cards in json.load(sys.stdin)], sys.stdout)
