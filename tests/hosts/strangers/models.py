"""User models whose groups are not Django's. `AUTH_USER_MODEL` picks one of them."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class Stranger(AbstractBaseUser):
    """What all of them have in common."""

    id = models.BigAutoField(primary_key=True)
    login = models.CharField(max_length=100, unique=True)
    USERNAME_FIELD = "login"
    objects: BaseUserManager[Any] = BaseUserManager()

    class Meta:
        abstract = True


class Team(models.Model):
    """The host's own groups, as NetBox has them."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Engineer(Stranger):
    """Is in groups that are not Django's."""

    groups = models.ManyToManyField(Team)

    def has_perm(self, permission: str) -> bool:
        return True


class Employee(Stranger):
    """Is in groups that only a directory knows."""

    is_staff = True

    @property
    def groups(self) -> list[str]:
        return ["Sales"]

    def has_perm(self, permission: str) -> bool:
        return True


class Visitor(Stranger):
    """Has neither groups nor permissions."""
