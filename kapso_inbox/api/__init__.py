"""The REST API, an extra: what an administrator may do, and tickets for front ends elsewhere."""
