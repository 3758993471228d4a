"""Read one thing from a host: plain pyinfra facts."""
