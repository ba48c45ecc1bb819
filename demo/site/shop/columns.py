"""Columns that each of the two kinds of databases has in its own way."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

IS_POSTGRES = settings.DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql"


def words() -> models.Field:
    """A list of words: an array, or JSON where there are no arrays."""
    if IS_POSTGRES:
        return ArrayField(models.CharField(max_length=30), default=list, blank=True)
    return models.JSONField(default=list, blank=True)
