"""What the manager remembers, and all of its SQL. Nothing here knows of HTTP or of pages."""
