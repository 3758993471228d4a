"""Change one thing on a host: plain pyinfra operations."""
