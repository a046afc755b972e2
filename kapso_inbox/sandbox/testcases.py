"""The sandbox for test cases of `unittest` and Django, run by `manage.py test` or by pytest."""

from __future__ import annotations

import unittest
from contextlib import ExitStack

from .engine import Sandbox
from .interception import intercepted


class KapsoSandboxMixin(unittest.TestCase):
    """Answer every request below the configured `BASE_URL` from a sandbox, a new one for each test.

    Put it before Django's class: `class InboxTests(KapsoSandboxMixin, TestCase)`. A `setUp` of your
    own must call `super().setUp()`.

    Attributes:
        kapso_sandbox: the sandbox, with one project for each one in `settings.KAPSO_INBOX`.
    """

    kapso_sandbox: Sandbox

    def setUp(self) -> None:
        """Start the sandbox."""
        stack = ExitStack()
        self.kapso_sandbox = stack.enter_context(intercepted())
        self.addCleanup(stack.close)
        super().setUp()
