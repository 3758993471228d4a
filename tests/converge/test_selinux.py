"""The selinux policy on lab hosts, whose kernel runs without SELinux: what it refuses.

How enforcing is reached is shown with stand-ins for SELinux's programs, and a file in the place of the kernel's: that
proves the order of steps and the way back, and nothing about SELinux itself.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.converge.alone import Alone

pytestmark = pytest.mark.lab

POLICY = """Selinux(
    mode="enforcing", booleans=[Boolean(name="httpd_can_network_connect", value=True)],
    contexts=[FileContext(path="/srv/app", type="httpd_sys_content_t")],
)"""
STAND_INS = r"""
mount -t tmpfs tmpfs /sys/fs/selinux; printf 0 > /sys/fs/selinux/enforce
mkdir -p /etc/selinux/default/contexts/files /var/lib/selinux/default/active
printf 'SELINUX=permissive\nSELINUXTYPE=default\n' > /etc/selinux/config
rules=/etc/selinux/default/contexts/files/file_contexts.local; kept=/var/lib/selinux/default/active/booleans.local
touch $rules $kept
put() { cat > /usr/sbin/$1; chmod 755 /usr/sbin/$1; }
put getenforce <<'X'
#!/bin/sh
grep -q 1 /sys/fs/selinux/enforce && echo Enforcing || echo Permissive
X
put setenforce <<'X'
#!/bin/sh
printf %s "$1" > /sys/fs/selinux/enforce
X
put restorecon <<'X'
#!/bin/sh
case "$*" in *-nRv*) cat /run/wrong-labels 2>/dev/null || true;; "-RF -e"*) rm -f /run/wrong-labels;; esac
X
put getsebool <<'X'
#!/bin/sh
grep -q httpd_can_network_connect=1 /var/lib/selinux/default/active/booleans.local && word=on || word=off
echo "httpd_can_network_connect --> $word"
X
put setsebool <<'X'
#!/bin/sh
echo "$2" > /var/lib/selinux/default/active/booleans.local
X
put semanage <<X
#!/bin/sh
case "\$*" in
  export) cat $rules;;
  import*) cat "\$3" > $rules;;
  *-C*) sed 's/ .* /    all files    /' $rules;;
  *) printf '%s    system_u:object_r:%s:s0\n' "\$5" "\$4" > $rules;;
esac
X
"""


@pytest.fixture
def selinux(lab, variant) -> Alone:
    return Alone(
        "selinux", POLICY, "from deploys.policies.selinux import Boolean, FileContext, Selinux", variant, host="edge-1"
    )


@pytest.fixture
def with_stand_ins(lab, on):
    lab.boot("edge-1")
    on("edge-1", STAND_INS)
    yield
    lab.reset("edge-1")


@pytest.mark.parametrize("policy", [POLICY, "Selinux()", 'Selinux(mode="enforcing")'])
def test_a_kernel_without_selinux_is_refused_and_nothing_is_changed(selinux, on, lab, policy: str) -> None:
    lab.boot("edge-1")
    before = on("edge-1", "find /etc/selinux -type f | xargs -r cat; stat -c %y /etc/selinux")
    said = replace(selinux, policy=policy).refused()
    assert "SELinux is not on in the kernel that runs, and nothing was changed: install selinux-policy" in said
    assert "edge-1: FAILED; 0 changes" in said
    assert on("edge-1", "find /etc/selinux -type f | xargs -r cat; stat -c %y /etc/selinux") == before


def test_a_host_without_selinux_is_one_where_it_is_disabled(selinux) -> None:
    replace(selinux, policy='Selinux(mode="disabled")').follows()


def test_enforcing_takes_right_labels_and_one_run(selinux, with_stand_ins, on) -> None:
    on("edge-1", "echo 'Would relabel /etc/shadow from a to b' > /run/wrong-labels")
    assert "files have wrong labels: enforcing could lock everybody out" in selinux.refused()
    assert on("edge-1", "getenforce; grep -c SELINUX=permissive /etc/selinux/config").split() == ["Permissive", "1"]
    relabelled = replace(selinux, policy=POLICY.replace("Selinux(", "Selinux(relabel=True, "))
    relabelled.follows()
    assert on("edge-1", "getenforce; grep -c SELINUX=enforcing /etc/selinux/config").split() == ["Enforcing", "1"]
    on(
        "edge-1",
        "setenforce 0; sed -i s/enforcing/permissive/ /etc/selinux/config; "
        ": > /var/lib/selinux/default/active/booleans.local; "
        "sed -i s/httpd_sys/httpd_log/ /etc/selinux/default/contexts/files/file_contexts.local",
    )
    assert selinux.broken() == {
        "selinux.mode", "selinux.boot", "selinux.boolean[httpd_can_network_connect]",
        "selinux.boolean[httpd_can_network_connect].boot", "selinux.context[/srv/app]",
    }  # fmt: skip


def test_enforcing_that_cuts_us_off_is_undone(selinux, with_stand_ins, on) -> None:
    # What enforcing over a wrong label in /root does: sshd takes no key.
    on(
        "edge-1",
        "cat >> /usr/sbin/setenforce <<'X'\n[ \"$1\" = 1 ] && chmod 777 /root/.ssh || chmod 700 /root/.ssh\nX",
    )
    done = selinux.converge("--data", "guard_seconds=12")
    assert (done.status, "edge-1: REVERTED" in done.err) == (1, True), done.all
    assert on("edge-1", "getenforce; grep -c SELINUX=permissive /etc/selinux/config").split() == ["Permissive", "1"]
