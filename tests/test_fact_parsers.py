"""What the facts make of text that is not what they expect: a result or FactProcessError, never anything else.

Any other exception would end the run for every host. What they make of good text is in tests/fixtures/facts.
"""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyinfra.api.exceptions import FactProcessError

from facts.block import BlockDevices
from facts.boot_try import BootTry
from facts.clock import LocalTime
from facts.docker import STOPPED, DockerContainers, DockerImages, DockerNetworks
from facts.file import IsOlderThan, PathEntry, TextFile
from facts.filesystem import FilesystemSize, Snapshots, Subvolumes, SwapFileState
from facts.iptables import FilterTable
from facts.kernel import CommandLine, KernelModules, KernelSettings
from facts.mounts import Directory, Fstab, Mounts, RootFilesystem
from facts.nfs import Exported
from facts.publishing import Published
from facts.selinux import SelinuxBooleans, SelinuxContexts, SelinuxKeptBooleans, SelinuxState
from facts.ssh import SshConnection

HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
DOCKER = (DockerImages, DockerNetworks, DockerContainers)
STORAGE = (
    BlockDevices, Directory, Exported, FilesystemSize, Fstab, Mounts, RootFilesystem, Snapshots, Subvolumes,
    SwapFileState,
)  # fmt: skip
SELINUX = (SelinuxBooleans, SelinuxContexts, SelinuxKeptBooleans, SelinuxState)
FACTS = (
    *DOCKER,
    *SELINUX,
    *STORAGE,
    BootTry,
    CommandLine,
    KernelModules,
    KernelSettings,
    FilterTable,
    IsOlderThan,
    LocalTime,
    Published,
    SshConnection,
    TextFile,
)
DEEP = "[" * 100_000

NETWORK = {
    "Name": "app", "Driver": "bridge", "Internal": False, "Containers": {},
    "IPAM": {"Driver": "default", "Options": None, "Config": [{"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1"}]},
}  # fmt: skip
CONTAINER = {"name": "/web", "networks": {"bridge": {}}, "labels": {}, "state": "running"}
IMAGE = {"id": f"sha256:{HASH}", "tags": ["nginx:1.27"], "digests": []}
BROKEN = [
    (TextFile, ["regular file|644|root|root"]),
    (TextFile, ["regular file|644|root|root", ""]),
    (TextFile, ["regular file|644|root|root", "   "]),
    (TextFile, ["regular file|644|root|root", HASH, "more"]),
    (TextFile, ["regular file|rw-r--r--|root|root", HASH]),
    (TextFile, ["regular file||root|root", HASH]),
    (TextFile, [f"regular file|{'7' * 5000}|root|root", HASH]),
    (TextFile, ["regular file|644|root", HASH]),
    (TextFile, ["regular file|644|ro|ot|root", HASH]),
    (TextFile, ["directory|755|root|root", HASH]),
    (TextFile, ["character special file|666|root|root", HASH]),
    (TextFile, ["directory|755|root|root"]),
    (TextFile, ["Absent"]),
    (TextFile, ["", "absent"]),
    (LocalTime, ["link", "/usr/share/zoneinfo/UTC"]),
    (LocalTime, ["link", "/usr/share/zoneinfo/UTC", "perhaps"]),
    (SelinuxState, ["1"]),
    (SelinuxState, ["2", "inactive", ""]),
    (SelinuxBooleans, ["getsebool:  SELinux is disabled"]),
    (PathEntry, []),
    (PathEntry, ["directory|755|root"]),
    (PathEntry, ["directory|rwx|root|root"]),
    (KernelSettings, ["vm.swappiness ?"]),
    (KernelSettings, ["sh: 1: cannot open"]),
    (KernelModules, ["dummy"]),
    (KernelModules, ["dummy perhaps"]),
    (CommandLine, []),
    (CommandLine, ["quiet"]),
    (BlockDevices, ["disk /dev/sdb", "size"]),
    (BlockDevices, ["disk /dev/sdb"]),
    (BlockDevices, ["disk /dev/sdb", f"size {'7' * 5000}"]),
    (BlockDevices, ["disk /dev/sdb", "size 1", "partition /dev/sdb1", "start x"]),
    (Directory, []),
    (Directory, ["/data"]),
    (Directory, ["/data", "full"]),
    (Directory, ["/data", "empty", "755 root"]),
    (Exported, ["/srv/x"]),
    (Published, []),
    (Published, ["version 20261128T033000Z"]),
    (Published, ["segfault", "end"]),
    (Published, ["channel prod", "end"]),
    (Published, ["version a b c", "end"]),
    (Exported, ["srv 10.0.0.0/8(ro)"]),
    (FilesystemSize, []),
    (FilesystemSize, ["Block count: 7", "Block size: x"]),
    (FilesystemSize, [f"devid 1 size {'7' * 5000} used 1"]),
    (Mounts, ["22 1 8:1 / / rw"]),
    (Mounts, ["22 - ext4 /dev/sda1 rw"]),
    (RootFilesystem, ["plain", "ext4"]),
    (Snapshots, ["logs@one"]),
    (Snapshots, ["x logs@one"]),
    (Subvolumes, ["ERROR: not a btrfs"]),
    (Subvolumes, ["ID 256 gen 12 top level 5", "read-only"]),
    (SwapFileState, ["ext2/ext3"]),
    (SwapFileState, ["ext2/ext3", "other"]),
    (FilterTable, ["iptables-save: command not found"]),
    (FilterTable, [":INPUT ACCEPT"]),
    (FilterTable, [":INPUT ACCEPT [0:0] more"]),
    (FilterTable, ["[0:0] -A INPUT -j ACCEPT"]),
    (FilterTable, ["-N DOCKER"]),
    (FilterTable, ["*filter", " -A INPUT -j ACCEPT"]),
    (SshConnection, ["root", "root", "client 51514 10.0.0.9 22"]),
    (SshConnection, ["root", "root", "10.0.0.5 51514 10.0.0 22"]),
    (SshConnection, ["root", "root", "10.0.0.5 51514 10.0.0.9 ssh"]),
    (SshConnection, ["root", "root", f"10.0.0.5 51514 10.0.0.9 {'2' * 5000}"]),
    *((fact, [broken]) for fact in DOCKER for broken in (
        "Cannot connect to the Docker daemon", "{", '{"id":', "null", "1", '"text"', "[]", "[1]", DEEP, "1" * 5000,
    )),
    *((fact, [STOPPED, ""]) for fact in DOCKER),
    *((fact, ["{}"]) for fact in DOCKER[1:]),
    (DockerImages, ['{"tags":["nginx:1.27"]}']),
    (DockerImages, [json.dumps({**IMAGE, "tags": 1})]),
    (DockerImages, [json.dumps({**IMAGE, "tags": [["nginx"]]})]),
    (DockerImages, [json.dumps(IMAGE), json.dumps([IMAGE])]),
    (DockerNetworks, [json.dumps({**NETWORK, "IPAM": None})]),
    (DockerNetworks, [json.dumps({**NETWORK, "IPAM": {"Config": [None]}})]),
    (DockerNetworks, [json.dumps({**NETWORK, "IPAM": {"Config": {"Subnet": "10.9.0.0/24"}}})]),
    (DockerNetworks, [json.dumps({**NETWORK, "Name": ["app"]})]),
    (DockerContainers, [json.dumps({**CONTAINER, "name": None})]),
    (DockerContainers, [json.dumps({**CONTAINER, "networks": True})]),
    (DockerContainers, [json.dumps({key: value for key, value in CONTAINER.items() if key != "labels"})]),
]  # fmt: skip

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def lines_of(*lines):
    """Lists of random lines and of these, which are nearly right."""
    return st.lists(st.sampled_from(lines) | st.text() | st.text(alphabet='{}[]":,|-*# 0a\t'), max_size=6)


def words_of(*words, separator=" "):
    """Lines of random words and of these."""
    return st.lists(st.sampled_from(words) | st.text(max_size=5), max_size=8).map(separator.join)


def like(document):
    """The document as a line of JSON, with some fields missing or holding something else."""
    return st.fixed_dictionaries(
        {}, optional={key: anything | st.just(value) for key, value in document.items()}
    ).map(json.dumps)  # fmt: skip


def understood_or_refused(fact, lines):
    """Process the lines; any exception but FactProcessError gets through to the test."""
    with contextlib.suppress(FactProcessError):
        json.dumps(fact().process(lines))  # a result is plain data


@pytest.mark.parametrize(
    ("fact", "lines"), BROKEN, ids=[f"{fact.__name__}-{lines!r:.60}" for fact, lines in BROKEN]
)  # fmt: skip
def test_broken_output_is_an_error_of_this_host(fact, lines):
    with pytest.raises(FactProcessError):
        fact().process(lines)


@pytest.mark.parametrize("fact", FACTS)
@given(lines=lines_of("", "absent", STOPPED, "null", "{}", "[]", DEEP, HASH))
def test_random_lines(fact, lines):
    understood_or_refused(fact, lines)


@given(
    status=words_of("regular file", "regular empty file", "fifo", "644", "root", "", "-1", "٣", separator="|"),
    checksum=words_of(HASH, "-", ""),
    more=st.lists(st.text(), max_size=1),
)
def test_random_files(status, checksum, more):
    understood_or_refused(TextFile, [status, checksum, *more])


@given(mode=st.text(max_size=6), user=st.text(max_size=6), checksum=st.text(max_size=6))
def test_random_modes_and_owners(mode, user, checksum):
    understood_or_refused(TextFile, [f"regular file|{mode}|{user}|root", checksum])


@given(st.lists(words_of("-A", ":INPUT", "INPUT", "DROP", "-", "[0:0]", "*filter", "COMMIT", "#", "-j", "!", '"')))
def test_random_rules(lines):
    understood_or_refused(FilterTable, lines)


@given(words=words_of("10.0.0.5", "fe80::1%eth0", "::ffff:10.0.0.5", "22", "-1", "22.0"), address=st.text())
def test_random_connections(words, address):
    understood_or_refused(SshConnection, ["root", "root", words, address])


@given(st.lists(like(IMAGE), max_size=3))
def test_random_images(lines):
    understood_or_refused(DockerImages, lines)


@given(st.lists(like(NETWORK), max_size=3))
def test_random_networks(lines):
    understood_or_refused(DockerNetworks, lines)


@given(pools=anything, containers=anything)
def test_random_address_pools(pools, containers):
    line = json.dumps({**NETWORK, "IPAM": {"Config": pools}, "Containers": containers})
    understood_or_refused(DockerNetworks, [line])


@given(st.lists(like(CONTAINER), max_size=3))
def test_random_containers(lines):
    understood_or_refused(DockerContainers, lines)
