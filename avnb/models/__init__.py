"""One file per method: its network, its objective, its maps."""
