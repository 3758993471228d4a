"""When and by whose leave a host is updated and rebooted."""
