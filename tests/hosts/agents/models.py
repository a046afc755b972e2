"""A user model that a CRM may have: a UUID as key, and other names for login and e-mail."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models


class AgentManager(BaseUserManager["Agent"]):
    """Creates agents with the arguments of Django's own manager, so that all tests can use it."""

    def create_user(
        self, login: str, email: str = "", password: str | None = None, **fields: Any
    ) -> Agent:
        agent = self.model(login=login, work_email=email, **fields)
        agent.set_password(password)
        agent.save(using=self._db)
        return agent

    def create_superuser(self, login: str, *args: Any, **fields: Any) -> Agent:
        return self.create_user(login, *args, is_staff=True, is_superuser=True, **fields)


class Agent(AbstractBaseUser, PermissionsMixin):
    """Someone who works in the CRM."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    login = models.CharField(max_length=300, unique=True)
    work_email = models.EmailField(blank=True)
    first_name = models.CharField(max_length=150, blank=True)
    last_name = models.CharField(max_length=150, blank=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    objects = AgentManager()

    USERNAME_FIELD = "login"
    EMAIL_FIELD = "work_email"

    def get_full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()
