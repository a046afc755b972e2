"""The example CRM with a fast password hasher: Django's default takes half a second per sign-in."""

from crm.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
