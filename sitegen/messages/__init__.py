"""Records of what comes in, the form of requests, commands, and tunasync's messages. No I/O."""
