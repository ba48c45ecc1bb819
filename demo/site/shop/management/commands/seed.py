"""`manage.py seed`: a few thousand rows and some 120 files, the same on every machine."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand

from shop.models import Category, Customer, Order, OrderLine, Product, Review
from shop.seeding import rows, uploads


class Command(BaseCommand):
    """Brings in what is missing: rows if there are no products, files the bucket lacks."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`--fresh` starts over."""
        parser.add_argument("--fresh", action="store_true", help="delete the shop's rows first")

    def handle(self, *_: object, fresh: bool, **__: object) -> None:
        """Seed, and say what there is."""
        if fresh:
            rows.clear()
        if not Product.objects.exists():
            rows.create()
        count = sum(model.objects.count() for model in (Category, Customer, Product, Order, OrderLine, Review))
        files, uploaded = uploads.bring_in()
        self.stdout.write(f"{count:,} rows; {files} files, {uploaded} of them uploaded now")
        self.stdout.write(f"staff sign in at /admin/ as {rows.STAFF_USER} with {rows.STAFF_PASSWORD}")
