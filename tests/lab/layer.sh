#!/bin/sh
# Runs in the root of the Photon layer (an overlay on the base): what a copy of files cannot do.
# Debian's own service names, package manager and privilege tools go, as Photon does not have them.
set -eu
update-alternatives --set iptables /usr/sbin/iptables-legacy >/dev/null
update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy >/dev/null
ln -sfn bash /usr/bin/sh
ln -sfn ../usr/lib/os-release /etc/os-release
mkdir -p /usr/libexec && ln -sfn ../lib/openssh/sftp-server /usr/libexec/sftp-server
ln -sfn ../sbin/dockerd /usr/bin/dockerd
rm -f /usr/lib/systemd/system/ssh.service /usr/lib/systemd/system/ssh.socket /usr/lib/systemd/system/ssh@.service
rm -rf /etc/ssh/sshd_config.d /etc/ssh/ssh_host_* /etc/systemd/system/multi-user.target.wants/* \
  /etc/systemd/system/sockets.target.wants/* /etc/systemd/system/timers.target.wants/* \
  /etc/systemd/system/ssh*
rm -rf /etc/debian_version /etc/init.d /usr/lib/systemd/systemd-sysv-install
for unit in sshd iptables; do
  ln -s /usr/lib/systemd/system/$unit.service /etc/systemd/system/multi-user.target.wants/$unit.service
done
# Only machines of a vCenter have a first boot (tests/lab/guest); the lab does that of the others.
rm -rf /usr/lib/systemd/system/cloud-* /usr/lib/systemd/system-generators/cloud-init-generator /etc/cloud \
  /etc/rsyslog.d/*cloudinit* /etc/profile.d/*cloud* /etc/dhcp /etc/NetworkManager /etc/update-motd.d
# Photon starts no rsyslog by itself (it is a package of its own), and has no sysctl.conf.
# The kernel's log is empty in a container, and reading nothing over and over takes half a processor.
sed -i '/imklog/s/^/#/' /etc/rsyslog.conf
rm -f /etc/systemd/system/syslog.service /etc/sysctl.conf /etc/sysctl.d/99-sysctl.conf
# The lab sets addresses from outside; modules and consoles belong to the machine.
for unit in systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service \
  systemd-udevd.service console-getty.service getty@.service \
  systemd-logind-varlink.socket proc-fs-nfsd.mount e2scrub_reap.service modprobe@.service; do
  ln -sfn /dev/null /etc/systemd/system/$unit
done
# A login would wait for a `systemd --user` of its own, and a second one for the end of the first one's: on a busy
# machine up to D-Bus' 25 seconds, in which sshd answers nothing.
ln -sfn /dev/null /etc/systemd/system/user@.service
groupadd -f -g 28 wheel
# As on the OVA there is no sudo; the lab's package of that name brings Debian's back.
mkdir -p /usr/share/lab-sudo
for path in usr/bin/sudo usr/sbin/visudo usr/libexec/sudo etc/sudoers etc/sudoers.d etc/sudo.conf etc/pam.d/sudo; do
  if [ -e "/$path" ]; then (cd / && cp -a --parents "$path" /usr/share/lab-sudo/ && rm -rf "/$path"); fi
done
groupadd -f docker
usermod -s /bin/bash root
# As the OVA: a password that must be changed at the first login, which refuses keys as well.
echo 'root:changeme' | chpasswd
chage -d 0 -M 90 root
: > /etc/machine-id
rpm --initdb
python3 - <<'P'
import pathlib, shutil
for pattern in ("apt*", "dpkg*", "tar", "diff", "cmp", "perl*", "cpan*", "sudo*", "deb-*", "debconf*"):
    for directory in ("/usr/bin", "/usr/sbin"):
        for path in pathlib.Path(directory).glob(pattern):
            path.unlink()
for tree in ("/var/lib/apt", "/var/cache/apt", "/etc/apt"):
    shutil.rmtree(tree, ignore_errors=True)
P
# The RPM database tells what a minimal Photon has; the files themselves are Debian's.
rpm -i --justdb --nodeps --force-debian --noscripts /tmp/*.rpm
install -m 755 /usr/lib/lab-tdnf/tdnf /usr/bin/tdnf
ln -sfn tdnf /usr/bin/yum
ln -sfn tdnf /usr/bin/tyum
ln -sfn tdnf /usr/bin/tdnfj
python3 -m compileall -q /usr/lib/lab-tdnf
