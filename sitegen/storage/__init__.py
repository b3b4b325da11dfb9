"""The manager's store, and all of its SQL. It knows nothing of HTTP or pages."""
