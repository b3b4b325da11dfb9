"""What comes in and what it means: records, the form of requests, commands, tunasync's words. Pure."""
