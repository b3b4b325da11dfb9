"""The worker: follows the config repository and keeps each mirror on disk as the YAML says."""
