"""All exceptions of the package share one root, and those about settings are also Django's."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest
from django.core.exceptions import ImproperlyConfigured

import kapso_inbox
from kapso_inbox import conf
from kapso_inbox.exceptions import ConfigurationError, KapsoInboxError
from kapso_inbox.kapso import KapsoError
from kapso_inbox.lifecycle import LifecycleError


def exceptions_of_the_package() -> Iterator[type[BaseException]]:
    for module in pkgutil.walk_packages(kapso_inbox.__path__, "kapso_inbox."):
        if ".migrations" in module.name:
            continue
        try:
            imported = import_module(module.name)
        except ModuleNotFoundError as missing:
            if str(missing.name).startswith("kapso_inbox"):
                raise
            continue  # a package that is optional, such as Wagtail
        for _name, member in inspect.getmembers(imported, inspect.isclass):
            if issubclass(member, BaseException) and member.__module__ == module.name:
                yield member


def test_every_exception_of_the_package_derives_from_kapso_inbox_error() -> None:
    found = set(exceptions_of_the_package())
    assert len(found) > 20
    assert {one for one in found if not issubclass(one, KapsoInboxError)} == set()


def test_a_configuration_error_is_not_an_error_of_kapso_or_the_lifecycle() -> None:
    assert issubclass(ConfigurationError, ImproperlyConfigured)
    assert not issubclass(ConfigurationError, (KapsoError, LifecycleError))


def test_a_project_without_a_key_is_improperly_configured() -> None:
    with pytest.raises(ImproperlyConfigured, match="has no API key") as caught:
        conf.project("nowhere")
    assert isinstance(caught.value, KapsoInboxError)
