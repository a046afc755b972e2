"""A soak: real processes of one CRM for minutes, while everything around them fails at random.

`python -m tests.soak --help` says how to run it, docs/contributing.md what it does.
"""
