"""Hosts unlike that of `tests.settings`, for the same tests: see tox.ini."""
