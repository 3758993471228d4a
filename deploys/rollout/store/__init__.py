"""Where rollouts are written down: rows of a database, each change with its line of audit in one transaction."""
