"""A fake Kapso for development, demonstrations and tests.

It shares no code with the app's client and models. It is written from Kapso's documentation, so
that it does not repeat the client's mistakes.
"""
