"""The shop's uploaded files: names, bytes, and bringing in those that are missing."""

import gzip
from collections.abc import Callable, Iterator

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db.models import QuerySet

from shop.models import Customer, Product

from . import pictures

EXTENSIONS = ["jpg", "jpg", "png", "webp", "gif"]
POSTER = 42
WITHOUT_PICTURE = 10
WITH_SHEET = 7


def picture_name(number: int, name: str) -> str | None:
    """Where the picture of the `number`th product lives; None for the few that have none."""
    if number % WITHOUT_PICTURE == 0:
        return None
    if number == POSTER:
        return "products/poster 12 MiB.png"
    return f"products/{number % 8}/{name.replace('/', '-')} – {number:03}.{_extension(number)}"


def sheet_name(number: int) -> str | None:
    """Where the data sheet of the `number`th product lives, if it has one."""
    return f"sheets/{number:04}.txt" if number % WITH_SHEET == 0 else None


def bring_in() -> tuple[int, int]:
    """Upload what the bucket lacks; gives how many files there are, and how many were uploaded."""
    total = uploaded = 0
    for name, make in _files():
        total += 1
        if not default_storage.exists(name):
            default_storage.save(name, ContentFile(make()))
            uploaded += 1
    return total, uploaded


def _files() -> Iterator[tuple[str, Callable[[], bytes]]]:
    for number, product in enumerate(Product.objects.order_by("pk"), start=1):
        if product.image:
            yield product.image.name, lambda number=number: _picture(number)
        if product.sheet:
            yield product.sheet.name, lambda product=product: _sheet(product)
    yield "exports/customers.csv.gz", lambda: gzip.compress(_csv(Customer.objects.order_by("pk")), mtime=0)
    yield "exports/empty.csv", bytes
    yield "exports/2026/Preisliste (Entwurf) 100%+.csv", lambda: _prices().encode()
    yield "exports/emoji 🏔️/готово.txt", lambda: "✓\n".encode()
    # A name of over 255 bytes, with every segment within what file systems take.
    yield "exports/" + "/".join(["sehr-langer-ordner-名前" * 4] * 4) + "/ende.txt", lambda: b"end\n"


def _picture(number: int) -> bytes:
    return pictures.poster() if number == POSTER else pictures.picture(number, _extension(number))


def _extension(number: int) -> str:
    return EXTENSIONS[number % len(EXTENSIONS)]


def _sheet(product: Product) -> bytes:
    lines = [product.name, "", *(f"{name}: {value}" for name, value in sorted(product.attributes.items()))]
    return ("\r\n".join(lines) + "\r\n").encode("utf-8-sig")


def _csv(customers: QuerySet[Customer]) -> bytes:
    return "".join(f'{customer.email},"{customer.name}"\n' for customer in customers).encode()


def _prices() -> str:
    return "".join(f"{product.sku};{product.price}\n" for product in Product.objects.order_by("pk"))
