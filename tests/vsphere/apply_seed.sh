# Run by unshare: has cloud-init carry out a seed on an image of Photon's kind, laid over this machine's own system.
# What it changed is printed as a tar archive. CLOUD_INIT: how it is called; the seed is in VMX_GUESTINFO*.
# RENAMED: a name that the host has got before it boots again.
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
for name in etc root home var; do
  mkdir "/mnt/$name" "/mnt/.$name"
  mount -t overlay overlay -o "lowerdir=/$name,upperdir=/mnt/$name,workdir=/mnt/.$name" "/$name"
done
mount -t tmpfs tmpfs /run

cat >/etc/passwd <<'END'
root:x:0:0:root:/root:/bin/bash
systemd-network:x:76:76::/:/bin/false
END
cat >/etc/group <<'END'
root:x:0:
systemd-network:x:76:
users:x:100:
wheel:x:28:
END
# Its password is known and has expired, as that of Photon's OVA.
echo 'root:$6$known$known:0:0:90:7:::' >/etc/shadow
echo 'root:::' >/etc/gshadow
chmod 600 /etc/shadow /etc/gshadow
rm -rf /etc/ssh /root/.ssh /etc/cloud /var/lib/cloud
mkdir -p /etc/ssh /etc/cloud
printf 'PermitRootLogin no\nUsePAM yes\n' >/etc/ssh/sshd_config
echo "of the template" >/etc/ssh/ssh_host_ed25519_key
# What matters of the cloud.cfg that Photon's package has; root is barred, as in the images of some clouds.
cat >/etc/cloud/cloud.cfg <<'END'
users: [{name: root, lock_passwd: false}]
disable_root: true
datasource_list: [VMware]
cloud_init_modules: [bootcmd, write-files, set_hostname, update_hostname, users-groups, ssh]
cloud_config_modules: [set-passwords, runcmd]
cloud_final_modules: [scripts-user]
system_info: {distro: photon, network: {renderers: [networkd]}, paths: {cloud_dir: /var/lib/cloud/}}
END
hostname photon-machine

boot() {
  rm -rf /run/cloud-init
  for stage in "init --local" init "modules --mode=config" "modules --mode=final"; do
    # shellcheck disable=SC2086 - words
    $CLOUD_INIT $stage >>/mnt/output 2>&1 || echo "$stage" >>/mnt/failed
  done
  hostname >"/mnt/hostname-$1"
}

boot 1
if [ -n "${RENAMED-}" ]; then
  # The second boot of a host that has another name by now, with the user data redacted.
  hostname "$RENAMED"
  echo "second boot" >>/mnt/said
  export VMX_GUESTINFO_USERDATA=--- VMX_GUESTINFO_USERDATA_ENCODING=" "
  boot 2
fi
cd /mnt
for path in failed hostname-2 etc/sudoers.d etc/systemd/network root/.ssh home/ops; do
  [ ! -e "$path" ] || set -- "$@" "$path"
done
tar -cf - hostname-1 said output etc/passwd etc/group etc/shadow etc/ssh etc/cloud "$@"
