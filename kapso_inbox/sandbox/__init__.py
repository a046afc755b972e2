"""A fake Kapso for development, demonstrations and tests.

It knows nothing of the app's own client or models: it is the other side of the wire, written from
Kapso's documentation, so that it does not share the client's mistakes.
"""
