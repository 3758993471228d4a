"""vCenter: one session, one bulk read, and the bring-up of virtual machines. See docs/vsphere.md."""
