"""From what is stored to what is so, and from there to pages, JSON and files."""
