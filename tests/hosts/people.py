"""The host's user model."""

from __future__ import annotations

from django.contrib.auth import get_user_model

User = get_user_model()
