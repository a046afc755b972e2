"""Settings for the tests: a host with the quickstart's settings and nothing more."""

from __future__ import annotations

import django
import environ

env = environ.Env()

SECRET_KEY = "tests"
USE_TZ = True
TIME_ZONE = "America/Sao_Paulo"
ROOT_URLCONF = "tests.urls"
STATIC_URL = "/static/"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "kapso_inbox",
    "kapso_inbox.conversations",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
DATABASES = {
    "default": env.db("DATABASE_URL", default="sqlite:///:memory:"),
    # A replica that never catches up with "default": see test_databases.py.
    "replica": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
}
# Django 6.0 deprecates pairs, and Django 5.2 does not accept strings.
ADMINS = ["admin@example.com"] if django.VERSION >= (6, 0) else [("Admin", "admin@example.com")]
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

KAPSO_INBOX = {
    "API_KEY": "kapso-key-of-the-tests-0123456789",
    "ENCRYPTION_KEYS": {"test": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"},
    # Any site may show an inbox, unless a test is about the sites.
    "ALLOWED_ORIGINS": [],
}
REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}
SPECTACULAR_SETTINGS = {"OAS_VERSION": "3.1.0", "TITLE": "Kapso inbox", "VERSION": "1"}
