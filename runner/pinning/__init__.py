"""Pin a worker to an earlier revision of the config repository: `skipjack pin`."""
