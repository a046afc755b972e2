"""The model of the host's users, whichever it is."""

from __future__ import annotations

from django.contrib.auth import get_user_model

User = get_user_model()
