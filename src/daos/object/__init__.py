"""Objects: keys to shards on the client, requests to VOS on the target."""
