"""The example CRM for many sign-ins: Django's default hasher takes half a second for each."""

from crm.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
