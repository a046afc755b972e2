"""Whether browsers get the app's stylesheets and script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.staticfiles.views import serve
from django.core.management import call_command
from django.urls import include, path, re_path

from kapso_inbox.diagnosis import Finding
from kapso_inbox.diagnosis.static_files import CONVERSATION_FILES, FILES

from .helpers import diagnose

pytestmark = pytest.mark.django_db

MANIFEST = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
OURS = path("kapso-inbox/", include("kapso_inbox.urls"))


def found(*, sends_launch: bool = False) -> list[Finding]:
    every = diagnose(network=False, sends_launch=sends_launch)
    return [one for one in every if one.code.startswith("static")]


def with_storage(backend: str) -> dict[str, Any]:
    return {**django_settings.STORAGES, "staticfiles": {"BACKEND": backend}}


def test_files_in_their_folder_that_only_a_web_server_can_serve_are_an_information() -> None:
    assert found() == []
    [served_elsewhere] = found(sends_launch=True)
    assert (served_elsewhere.code, served_elsewhere.level) == ("static-files-elsewhere", "info")
    assert "/static/kapso_inbox/kapso_inbox.css" in served_elsewhere.what


class _Serves:
    urlpatterns = [
        re_path(r"^static/(?P<path>.*)$", serve, {"insecure": True}),
        OURS,
    ]


def test_files_that_the_site_itself_serves_are_fine(settings: Any, tmp_path: Path) -> None:
    settings.ROOT_URLCONF = _Serves
    settings.STATIC_ROOT = tmp_path
    assert found(sends_launch=True) == []


def test_files_that_were_not_collected_are_missing(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    [missing] = found()
    assert (missing.code, missing.level) == ("static-files-missing", "warning")
    assert "kapso_inbox/kapso_inbox.css, kapso_inbox/kapso_inbox.js" in missing.what
    assert "collectstatic" in missing.hint
    call_command("collectstatic", interactive=False, verbosity=0)
    assert found() == []


def test_the_files_of_badges_are_missed_only_where_the_site_has_badges(
    settings: Any, tmp_path: Path
) -> None:
    settings.STATIC_ROOT = tmp_path
    [missing] = found()
    assert "kapso_inbox/waiting.js" in missing.what
    assert "kapso_inbox/notifications.js" in missing.what
    settings.INSTALLED_APPS = [
        app for app in settings.INSTALLED_APPS if app != "kapso_inbox.conversations"
    ]
    [missing] = found()
    assert "kapso_inbox/kapso_inbox.js" in missing.what
    assert "waiting" not in missing.what


def test_every_file_that_agents_load_is_looked_for(settings: Any) -> None:
    every = {f"kapso_inbox/{one.name}" for one in settings.STATIC_ROOT.glob("kapso_inbox/*")}
    agents = {name for name in every if not name.startswith("kapso_inbox/admin.")}
    assert {*FILES, *CONVERSATION_FILES} == agents


def test_a_site_without_a_folder_for_static_files_is_found(settings: Any) -> None:
    settings.STATIC_ROOT = None
    [missing] = found()
    assert (missing.code, missing.level) == ("static-files-missing", "warning")
    assert "Set STATIC_ROOT" in missing.hint


def test_a_manifest_that_lacks_the_files_fails_every_page(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = with_storage(MANIFEST)
    [missing] = found()
    assert (missing.code, missing.level) == ("static-files-missing", "error")
    assert "(ValueError)" in missing.what
    call_command("collectstatic", interactive=False, verbosity=0)
    assert found() == []
    for stylesheet in tmp_path.glob("kapso_inbox/kapso_inbox.*.css"):
        stylesheet.unlink()
    [missing] = found()
    assert (missing.level, "kapso_inbox.css" in missing.what) == ("warning", True)


def test_a_project_without_an_address_for_static_files_is_found(settings: Any) -> None:
    settings.STATIC_URL = None
    [missing] = found()
    assert (missing.code, missing.level) == ("static-files-missing", "error")


def test_files_in_another_place_than_this_machine_are_not_asked_for(settings: Any) -> None:
    settings.STORAGES = with_storage("django.core.files.storage.InMemoryStorage")
    settings.STORAGES["staticfiles"]["OPTIONS"] = {"base_url": "https://cdn.example.com/"}
    assert found(sends_launch=True) == []


def test_in_development_the_finders_have_to_know_the_files(settings: Any) -> None:
    settings.DEBUG = True
    settings.STATIC_ROOT = None
    assert found() == []
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    [missing] = found()
    assert (missing.code, missing.level) == ("static-files-missing", "warning")
    assert "AppDirectoriesFinder" in missing.hint


def test_whitenoise_may_serve_from_the_finders(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.WHITENOISE_USE_FINDERS = True
    assert found() == []


def test_a_project_without_django_s_staticfiles_is_told_to_serve_them(settings: Any) -> None:
    settings.INSTALLED_APPS = [
        app for app in settings.INSTALLED_APPS if app != "django.contrib.staticfiles"
    ]
    [missing] = found()
    assert (missing.code, missing.level) == ("staticfiles-not-installed", "warning")
    assert "/static/" in missing.hint
