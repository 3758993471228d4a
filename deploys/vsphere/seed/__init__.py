"""What a host is given before anybody can log in, from the policies that it will follow: pure, without vCenter.

`host.NewHost` holds what is known of the host, `cloud_init.seed` makes the keys of guestinfo for cloud-init's VMware
datasource, `kickstart.kickstart` the answers for the installer of Photon's ISO. See docs/vsphere.md, "First boot".
"""
