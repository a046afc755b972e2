"""A host without Django REST framework. Under tox it has none of the other optional packages."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [app for app in INSTALLED_APPS if app not in ("rest_framework", "drf_spectacular")]
ROOT_URLCONF = "tests.hosts.urls_without_api"
