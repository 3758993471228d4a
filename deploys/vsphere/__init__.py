"""vCenter: one session, one bulk read, and the bring-up of virtual machines. See docs/vsphere.md."""

# The vm policy knows the settings of a vCenter, which are made as policies are: whoever is asked for, these come first.
import deploys.policies  # noqa: F401
