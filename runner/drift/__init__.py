"""What is on this machine without a definition: `skipjack drift` shows it, `skipjack prune` removes it."""
