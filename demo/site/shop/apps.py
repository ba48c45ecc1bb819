"""The shop's Django configuration."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Names the application."""

    name = "shop"
