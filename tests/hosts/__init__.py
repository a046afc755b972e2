"""Settings of other kinds of host, which run the same tests as `tests.settings`: see tox.ini."""
