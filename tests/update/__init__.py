"""Windows, slots, and what else decides about an update. No host is needed."""
