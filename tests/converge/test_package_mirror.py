"""A mirror of packages and a client of it, over HTTPS: snapshots, promotion, and what is not let in."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.converge.conftest import changes, program, run
from tests.converge.servers import HEAD, Authority, Server, killed_while

pytestmark = pytest.mark.lab

NAME = "mirror.example"
WWW = "/srv/photon-fleet/package-mirror/www"
SYNC = "photon-fleet-package-mirror-sync.service"


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.issue(NAME)
    return made


@pytest.fixture
def mirror(lab, on, tmp_path) -> Server:
    lab.boot("mirror-1")
    server = Server("mirror-1", "package_mirror", "package_mirror", tmp_path, on)
    server.open()
    return server


@pytest.fixture
def policy(authority):
    def of(*urls: str, more: str = "") -> str:
        repositories = ", ".join(
            f'MirroredRepository(id="{["all", "more"][number]}", url="http://packages.lab/{url}", keys=["photon-lab"])'
            for number, url in enumerate(urls)
        )
        certificate = authority.directory / f"{NAME}.pem"
        return (
            f'PackageMirror(server_name="{NAME}", certificate="{certificate}", '
            f'key=Secret.file("{certificate.with_suffix(".key")}"), signing_keys=[key], keep=2, '
            f"repositories=[{repositories}], {more})"
        )

    return of


def snapshots(on) -> list[str]:
    return on("mirror-1", f"ls {WWW}/snapshots").split()


def links(on) -> dict[str, str]:
    lines = on("mirror-1", f"find {WWW} -maxdepth 1 -type l -printf '%f %l\\n'").splitlines()
    return dict(line.split() for line in lines)


def test_a_snapshot_is_served_and_promoted_and_a_client_installs_and_upgrades_from_it(
    mirror, policy, on, authority, tmp_path, lab
) -> None:
    first, second = policy("photon"), policy("photon-updates")
    mirror.follows(first)
    (snapshot,) = snapshots(on)
    assert links(on) == {"staging": f"snapshots/{snapshot}"}
    promoted = mirror.publish(first, "promote=prod")
    assert promoted.status == 0, promoted.all
    assert f"prod: nothing -> {snapshot}" in promoted.err
    again = mirror.publish(first, "promote=prod")
    assert (again.status, changes(again)["success"]) == (0, 0), again.all

    address = lab.boot("mirror-1").address
    lab.boot("client-1")
    on("client-1", f"echo {address} {NAME} >> /etc/hosts")
    client = tmp_path / "client.py"

    def converge(version: str):
        client.write_text(f"""{HEAD}
hosts = fleet(
    host("client-1",
         Packages(keys=[key], exact={{"tree": "{version}"}},
                  repositories=[Repository(id="fleet", url="https://{NAME}/prod/all", key="photon-lab")]),
         Files(files=[File(path="{authority.hashed}", content=Path("{authority.certificate}").read_text())])),
    connector="lab",
)
""")
        return run(program("pyinfra"), client, "deploys/host.py", "-y", "--json", "--data", "only=files,packages")

    # Before the authority is trusted nothing is believed: packages come before files in a run.
    on("client-1", "rm -f /etc/yum.repos.d/*")
    assert converge("2.1.0").status == 1
    on("client-1", f"cat > {authority.hashed} <<'X'\n{authority.certificate.read_text()}X")
    done = converge("2.1.0")
    assert done.status == 0, done.all
    assert on("client-1", "tree") == "tree 2.1.0\n"

    mirror.sound(second)
    assert len(snapshots(on)) == 2
    assert converge("2.1.1").status == 1
    assert on("client-1", "tree") == "tree 2.1.0\n"
    assert f"prod: {snapshot} -> {snapshots(on)[1]}" in mirror.publish(second, "promote=prod").err
    # tdnf keeps metadata for two days.
    on("client-1", "tdnf makecache --refresh")
    done = converge("2.1.1")
    assert done.status == 0, done.all
    assert on("client-1", "tree") == "tree 2.1.1\n"
    back = mirror.publish(second, "promote=prod", f"snapshot={snapshot}")
    assert back.status == 0, back.all
    assert links(on)["prod"] == f"snapshots/{snapshot}"


def test_what_is_not_signed_or_no_repository_is_refused(mirror, policy, on) -> None:
    mirror.converge(policy("photon"))
    before = (links(on), snapshots(on))
    for upstream, sentence in {
        "unsigned": "refused: tree-2.2.0-1.ph5.x86_64.rpm: it is not signed; nothing was published (1 more)",
        "stranger": "refused: stranger-tool-1.0-1.ph5.x86_64.rpm: it is signed by a key that is not pinned",
        "portal": "http://packages.lab/portal answers with something else than a repository",
    }.items():
        done = mirror.converge(policy("photon", upstream))
        assert done.status == 1
        assert f"more: {sentence}" in done.err
        assert (links(on), snapshots(on)) == before
    assert on("mirror-1", "ls -A /srv/photon-fleet/package-mirror").split() == [
        "fetch.lock", "publish.lock", "said", "www"
    ]  # fmt: skip
    # Refused is refused, and not gone: the next run tries again, and the proof says so until it succeeds.
    mirror.sound(policy("photon"))


PRIMARY = """<metadata xmlns="x" packages="{count}"><package type="rpm"><name>x</name>
<checksum type="{kind}" pkgid="YES">{digest}</checksum><location {location}/></package></metadata>
"""
REPOMD = """<repomd><data type="primary"><checksum type="sha256">{digest}</checksum>
<location href="primary.xml"/></data></repomd>
"""
GOOD = {"count": 1, "kind": "sha256", "digest": "0" * 64, "location": 'href="x-1.rpm"'}


@pytest.mark.parametrize(
    ("primary", "sentence"),
    [
        ({}, "all: refused: x-1.rpm is not what the metadata says it is; nothing was published"),
        ({"kind": "md5"}, "x-1.rpm has a digest of the kind 'md5', which proves nothing"),
        ({"digest": ""}, "x-1.rpm has no digest"),
        ({"location": 'href="../../../etc/cron.d/x"'}, "'../../../etc/cron.d/x' is no name of a file below"),
        ({"location": 'href="/etc/cron.d/x"'}, "'/etc/cron.d/x' is no name of a file below"),
        ({"location": 'href="$(reboot)"'}, "'$(reboot)' is no name of a file below"),
        ({"location": 'href="x y"'}, "a file's name has a blank in it"),
        ({"location": 'xml:base="http://other" href="x"'}, "it names a file of another server"),
        ({"count": 2}, "the metadata says 2 packages, and names 1"),
        ({"cut": True}, "it is cut off"),
        ({"other": True}, "all: refused: primary.xml is not what the metadata says it is"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value.replace("/", " ").replace("$", ""),
)
def test_metadata_that_cannot_be_believed_is_refused(mirror, policy, on, primary, sentence) -> None:
    """The host's own script, with its upstream and its place replaced."""
    script = "/etc/photon-fleet/package_mirror/publish.sh"
    if on("mirror-1", f"ls {script} 2>/dev/null || true") == "":
        mirror.converge(policy("photon"))
    text = PRIMARY.format(**{**GOOD, **{key: value for key, value in primary.items() if key in GOOD}})
    text = text.partition("</package>")[0] if "cut" in primary else text
    digest = hashlib.sha256(b"" if "other" in primary else f"{text.rstrip()}\n".encode()).hexdigest()
    said = on("mirror-1", f"""
rm -rf /srv/up /srv/test; mkdir -p /srv/up/repodata; cd /srv/up; printf x > x-1.rpm
cat > primary.xml <<'X'
{text.rstrip()}
X
cat > repodata/repomd.xml <<'X'
{REPOMD.format(digest=digest)}
X
systemctl stop up 2>/dev/null
systemd-run --quiet --unit=up python3 -m http.server --bind 127.0.0.1 --directory /srv/up 8000
for i in $(seq 50); do curl -s http://127.0.0.1:8000/ > /dev/null && break; sleep 0.1; done
sed -e 's#^base=.*#base=/srv/test#' -e 's#http://packages.lab/[a-z-]*#http://127.0.0.1:8000#' {script} \\
  > /root/publish.sh
sh /root/publish.sh fetch 2>&1 && echo published; systemctl stop up; ls /srv/test/www/snapshots""")  # fmt: skip
    assert sentence in said
    assert len(said.splitlines()) == 1, said


def test_killed_in_the_middle_nothing_half_is_published(mirror, policy, on) -> None:
    mirror.sound(policy("photon"))
    before = (links(on), snapshots(on))
    changed = policy("photon", "photon-updates")
    script = "/etc/photon-fleet/package_mirror/publish.sh"
    for path in ("/usr/bin/curl", "/usr/bin/rpmkeys", "/usr/bin/sync"):
        # Another digest of the wishes makes it fetch everything.
        on("mirror-1", f"sed -i 's/^made_of=.*/made_of=other/' {script}")
        killed_while(mirror, SYNC, path)
        assert (links(on), snapshots(on)) == before
    done = mirror.converge(changed)
    assert done.status == 0, done.all
    assert on("mirror-1", "ls -A /srv/photon-fleet/package-mirror").split()[-1] == "www"
    # Old ones go, but for those that a channel names.
    kept = sorted({*snapshots(on)[-2:], *(link.rpartition("/")[2] for link in links(on).values())})
    assert snapshots(on) == kept
    assert on("mirror-1", f"stat -c %h {WWW}/staging/all/x86_64/tree-2.1.0*") != "1\n"


def test_what_is_broken_is_named_and_mended(mirror, policy, on) -> None:
    text = policy("photon")
    mirror.sound(text)
    on("mirror-1", f"""
cd {WWW}/staging/all/repodata; gzip -c /etc/passwd > "$(ls *-filelists.xml.gz)"
systemctl disable --now photon-fleet-package-mirror-sync.timer
sed -i 's/ TLSv1.3/ TLSv1.1 TLSv1.3/; s/autoindex off/autoindex on/; s/try_files.*/try_files $uri $uri\\/ =404; }}/' \\
  /etc/photon-fleet/package_mirror/nginx.conf
systemctl restart photon-fleet-package-mirror""")  # fmt: skip
    proof = run(program("pytest"), "tests/hosts", "--inventory", str(Path(mirror.inventory(text))), "-q",
                "-p", "no:cacheprovider", "--only", "package_mirror")  # fmt: skip
    for each in ("timer.active", "timer.enabled", "answers", "nginx", "channel[staging]"):
        assert f"package_mirror.{each}" in proof.out, proof.out
    # Older snapshots share the file that is damaged: what is fetched anew is whole.
    on("mirror-1", f"rm -f {WWW}/prod")
    before = links(on)
    assert "filelists.xml.gz is not what the metadata says" in mirror.converge(text).err
    mirror.publishes(text, "sync=true")
    assert links(on) != before


def test_what_to_do_must_be_said(mirror, policy) -> None:
    text = policy("photon")
    assert "say what to do" in mirror.publish(text).err
    assert "say what to do" in mirror.publish(text, "promote=prod", "sync=true").err
    assert "the policy's channels are prod" in mirror.publish(text, "promote=pord").err
    assert "there is no version 2020" in mirror.publish(text, "promote=prod", "snapshot=2020").err
    fetched = mirror.publish(text, "sync=true")
    assert fetched.status == 0, fetched.all
