"""A curated OSTree repository and a client of it, over HTTPS: promotion, signatures, and what is not let in."""

from __future__ import annotations

import subprocess

import pytest

from tests.converge.conftest import changes
from tests.converge.servers import Authority, Server, killed_while
from tests.lab.rpms import Keyring

pytestmark = pytest.mark.lab

NAME = "images.example"
BASE = "/srv/photon-fleet/ostree-server"
REPO = f"{BASE}/www/repo"
SYNC = "photon-fleet-ostree-server-sync.service"
REF = "photon/5.0/x86_64/minimal"
STAGING, PROD = f"{REF}/staging", f"{REF}/prod"
UPSTREAM = "/root/upstream"


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keyring:
    """Keys of the vendor, of a stranger, and of the fleet."""
    keyring = Keyring(tmp_path_factory.mktemp("keys"))
    for name in ("vendor", "stranger", "fleet"):
        (keyring.directory / f"{name}.asc").write_text(keyring.public(name))
    words = ["gpg", "--batch", "--homedir", str(keyring.directory), "--armor", "--export-secret-keys"]
    for name in ("vendor", "stranger", "fleet"):
        secret = subprocess.run([*words, f"{name}@photon.lab"], capture_output=True, text=True, check=True).stdout
        (keyring.directory / f"{name}.key").write_text(secret)
    keyring.close()
    return keyring


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.issue(NAME)
    return made


@pytest.fixture(scope="module")
def upstream(lab, keys) -> Upstream:
    """A real repository on a lab host, served over plain HTTP: what it says is believed only when it is signed."""
    return Upstream(lab, keys)


class Upstream:
    """The vendor, played by client-1."""

    def __init__(self, lab, keys: Keyring) -> None:
        self.lab, self.address = lab, lab.boot("client-1").address
        for name in ("vendor", "stranger"):
            self.run(f"mkdir -p -m 700 /root/{name} && gpg --homedir /root/{name} --batch --import",
                     stdin=(keys.directory / f"{name}.key").read_text())  # fmt: skip
        self.run(f"""
ostree init --repo={UPSTREAM} --mode=archive; mkdir -p /root/tree
systemd-run --quiet --unit=upstream python3 -m http.server --directory {UPSTREAM} 8080
iptables -I INPUT -p tcp --dport 8080 -j ACCEPT""")

    def run(self, text: str, stdin: str = "") -> str:
        command = ["ssh", "-F", str(self.lab.ssh_config()), "client-1", text]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self, version: str, key: str | None = "vendor") -> str:
        listed = f"gpg --homedir /root/{key} --list-keys --with-colons"
        print_of = f"$({listed} | sed -n '/^pub/,/^fpr/s/^fpr:*//p' | tr -d :)"
        sign = f"--gpg-homedir=/root/{key} --gpg-sign={print_of}" if key else ""
        return self.run(f"""
echo {version} > /root/tree/version; head -c 20000 /dev/urandom > /root/tree/{version}
ostree commit --repo={UPSTREAM} --branch={REF} --add-metadata-string=version={version} {sign} /root/tree""").strip()


@pytest.fixture
def images(lab, on, tmp_path) -> Server:
    lab.boot("images-1")
    server = Server("images-1", "ostree_server", "ostree_server", tmp_path, on)
    server.open()
    return server


@pytest.fixture
def policy(authority, keys, upstream):
    certificate = authority.directory / f"{NAME}.pem"
    return (
        f'OstreeServer(server_name="{NAME}", certificate="{certificate}", '
        f'key=Secret.file("{certificate.with_suffix(".key")}"), keep=2, '
        f'upstream_keys=[SigningKey(name="vendor", file="{keys.directory}/vendor.asc", '
        f'fingerprint="{keys.fingerprint("vendor")}")], '
        f'branches=[OstreeBranch(ref="{REF}", url="http://{upstream.address}:8080", keys=["vendor"])], '
        f'signing_key=Secret.file("{keys.directory}/fleet.key"), signing_fingerprint="{keys.fingerprint("fleet")}")'
    )


def head(on, ref: str) -> str:
    return on("images-1", f"cat {REPO}/refs/heads/{ref} 2>/dev/null || true").strip()


CLIENT = """
set -e
echo {address} {name} >> /etc/hosts
cat > /root/fleet.asc <<'X'
{key}X
cat > /root/ca.pem <<'X'
{ca}X
ostree init --repo=/root/client --mode=bare-user
ostree remote add --repo=/root/client --gpg-import=/root/fleet.asc --set=gpg-verify-summary=true \\
  --set=tls-ca-path=/root/ca.pem fleet https://{name}/repo
"""
PULL = (
    f"ostree pull --repo=/root/client fleet {PROD} >/dev/null && ostree cat --repo=/root/client fleet:{PROD} /version"
)


def test_a_commit_is_curated_promoted_and_pulled_by_a_client_that_checks_everything(
    images, policy, upstream, on, authority, keys, lab
) -> None:
    upstream.commit("1")
    images.follows(policy)
    first = head(on, STAGING)
    assert head(on, PROD) == ""
    promoted = images.publish(policy, "promote=prod")
    assert promoted.status == 0, promoted.all
    assert f"{PROD}: nothing -> {first}" in promoted.err
    again = images.publish(policy, "promote=prod")
    assert (again.status, changes(again)["success"]) == (0, 0), again.all

    address = lab.boot("images-1").address
    texts = {"key": keys.public("fleet"), "ca": authority.certificate.read_text()}
    upstream.run(CLIENT.format(address=address, name=NAME, **texts))
    assert upstream.run(PULL).strip() == "1"
    # The very commit that was tried; its version is upstream's.
    assert head(on, PROD) == first
    shown = upstream.run(f"ostree show --repo=/root/client fleet:{PROD}")
    assert "Version: 1" in shown
    assert "Good signature" in shown

    upstream.commit("2")
    fetched = images.publish(policy, "sync=true")
    assert fetched.status == 0, fetched.all
    second = head(on, STAGING)
    assert second not in {"", first}
    assert upstream.run(PULL).strip() == "1"
    assert on("images-1", f"ls {REPO}/deltas/*/").strip()
    images.publishes(policy, "promote=prod")
    assert upstream.run(PULL).strip() == "2"
    back = images.publish(policy, "promote=prod", f"commit={first}")
    assert back.status == 0, back.all
    assert head(on, PROD) == first
    # Two are kept of each channel, and more are not.
    for version in ("3", "4"):
        upstream.commit(version)
        images.publishes(policy, "sync=true")
    assert head(on, PROD) == first
    assert f"commit {second}" not in on("images-1", f"ostree log --repo={REPO} {STAGING}")


def test_what_is_not_signed_by_the_vendor_is_refused(images, policy, upstream, on) -> None:
    good = upstream.commit("5")
    images.sound(policy)
    images.publishes(policy, "sync=true")
    before = (head(on, STAGING), head(on, PROD))
    for key, sentence in {
        None: "refused: the commit is not signed; nothing was published",
        "stranger": "refused: the commit is signed by a key that is not pinned; nothing was published",
    }.items():
        upstream.commit("6", key)
        done = images.publish(policy, "sync=true")
        assert done.status == 1
        assert f"{REF}: {sentence}" in done.err
        assert (head(on, STAGING), head(on, PROD)) == before
    # The signed commit of before, with the content of a file exchanged.
    upstream.run(f"ostree reset --repo={UPSTREAM} {REF} {good} >/dev/null")
    upstream.commit("7")
    upstream.run(f"""
object() {{ set -- $(ostree ls --repo={UPSTREAM} -C {REF} "$1"); echo "$5" | sed 's#^..#&/#; s#$#.filez#'; }}
cd {UPSTREAM}/objects; cat "$(object /5)" > "$(object /version)" """)
    done = images.publish(policy, "sync=true")
    assert done.status == 1
    assert f"{REF}: refused: it is damaged, or somebody has tampered with it; nothing was published" in done.err
    assert (head(on, STAGING), head(on, PROD)) == before
    upstream.commit("8")
    images.sound(policy)


def test_killed_in_the_middle_nothing_half_is_published(images, policy, upstream, on) -> None:
    images.sound(policy)
    before = (head(on, STAGING), head(on, PROD))
    upstream.commit("9")
    killed_while(images, SYNC, "/usr/bin/gpgconf")
    upstream.commit("10")
    killed_while(images, SYNC, "/usr/bin/gpg")
    assert "it was killed" in images.publish(policy, "promote=prod", f"commit={before[0]}").err
    images.follows(policy)
    assert on("images-1", f"ls -A {BASE}").split() == [
        "fetch.lock", "made-of", "publish.lock", "said", "signing.asc", "www"
    ]  # fmt: skip


def test_what_is_broken_is_named(images, policy, on) -> None:
    images.sound(policy)
    # A ref moved by hand: the summary that clients check does not know of it.
    on("images-1", f"ostree refs --repo={REPO} --force --create={STAGING} {STAGING}^")
    done = images.publish(policy, "promote=prod")
    assert f"ostree_server.channel[{STAGING}]" in done.err
    images.publishes(policy, "sync=true")
    wrong = policy.replace("fleet.key", "stranger.key")
    assert "signing_key is the private key" in images.converge(wrong).err
    images.sound(policy)
