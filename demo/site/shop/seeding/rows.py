"""The shop's rows, drawn from one seeded generator: the same ones every time."""

import datetime as dt
from decimal import Decimal
from random import Random
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management.color import no_style
from django.db import connection, transaction
from django.utils.text import slugify

from shop import columns
from shop.models import Category, Customer, Order, OrderLine, Product, Review

from . import catalogue
from .pictures import thumbnail
from .uploads import picture_name, sheet_name

SEED = 20260101
CUSTOMERS = 420
PRODUCTS = 110
ORDERS = 950
REVIEWS = 800
OPENING = dt.datetime(2024, 3, 1, 8, 0, tzinfo=dt.UTC)
TRADING_MINUTES = 900 * 24 * 60

STAFF_USER = "admin"
STAFF_PASSWORD = "holdfast-demo"


def clear() -> None:
    """Empty the shop's tables and start their numbers anew."""
    tables = [model._meta.db_table for model in (Review, OrderLine, Order, Product, Category, Customer)]
    connection.ops.execute_sql_flush(
        connection.ops.sql_flush(no_style(), tables, reset_sequences=True, allow_cascade=columns.IS_POSTGRES)
    )
    with connection.cursor() as cursor:
        cursor.execute("ALTER SEQUENCE shop_order_number RESTART")


@transaction.atomic
def create() -> None:
    """Fill the empty tables."""
    dice = Random(SEED)
    categories = _categories()
    customers = Customer.objects.bulk_create([_customer(dice, number) for number in range(1, CUSTOMERS + 1)])
    products = Product.objects.bulk_create([_product(dice, number, categories) for number in range(1, PRODUCTS + 1)])
    orders = Order.objects.bulk_create([_order(dice, customers) for _ in range(ORDERS)])
    OrderLine.objects.bulk_create([line for order in orders for line in _lines(dice, order, products)])
    Review.objects.bulk_create([_review(dice, products, customers) for _ in range(REVIEWS)])
    User.objects.update_or_create(
        username=STAFF_USER,
        defaults={
            "password": make_password(STAFF_PASSWORD, salt="bergladen"),
            "is_staff": True,
            "is_superuser": True,
            "date_joined": OPENING,
        },
    )
    with connection.cursor() as cursor:
        cursor.execute("REFRESH MATERIALIZED VIEW shop_rating" if columns.IS_POSTGRES else "CALL shop_rate()")


def _categories() -> list[Category]:
    shelves = []
    for parent_name, names in catalogue.CATEGORIES.items():
        parent = Category.objects.create(name=parent_name, slug=slugify(parent_name))
        shelves += [Category.objects.create(name=name, slug=slugify(name), parent=parent) for name in names]
    return shelves


def _customer(dice: Random, number: int) -> Customer:
    town, code = dice.choice(catalogue.TOWNS)
    return Customer(
        name=f"{dice.choice(catalogue.FIRST_NAMES)} {dice.choice(catalogue.LAST_NAMES)}",
        email=f"customer{number}@example.com",
        address={"street": f"Gasse {dice.randint(1, 99)}", "code": code, "town": town, "country": "CH"},
        birthday=dt.date(1950, 1, 1) + dt.timedelta(days=dice.randint(0, 20_000)) if dice.random() < 0.7 else None,
        joined_at=_moment(dice),
    )


def _product(dice: Random, number: int, categories: list[Category]) -> Product:
    name = f"{dice.choice(catalogue.THINGS)} {dice.choice(catalogue.QUALITIES)}"
    return Product(
        name=name,
        slug=f"{slugify(name, allow_unicode=True)[:40]}-{number}",
        sku=UUID(int=dice.getrandbits(128), version=4),
        category=dice.choice(categories),
        price=Decimal(dice.randint(490, 49_900)) / 100,
        description=" ".join(dice.choice(catalogue.OPINIONS) for _ in range(dice.randint(1, 12))),
        tags=sorted(dice.sample(catalogue.TAGS, dice.randint(0, 4))),
        attributes={
            "material": dice.choice(catalogue.MATERIALS),
            "weight_g": dice.randint(20, 9_000),
            "sizes": dice.sample(["S", "M", "L", "XL"], 2),
            "care": {"dishwasher": dice.random() < 0.5, "note": None},
        },
        image=picture_name(number, name) or "",
        sheet=sheet_name(number) or "",
        thumbnail=thumbnail(number),
        created_at=_moment(dice),
    )


def _order(dice: Random, customers: list[Customer]) -> Order:
    # An empty number is given by the database's trigger.
    return Order(
        number="",
        customer=dice.choice(customers),
        state=dice.choice(Order.State.values),
        note=dice.choice(catalogue.OPINIONS) if dice.random() < 0.3 else "",
        placed_at=_moment(dice),
    )


def _lines(dice: Random, order: Order, products: list[Product]) -> list[OrderLine]:
    return [
        OrderLine(order=order, product=product, quantity=dice.randint(1, 5), unit_price=product.price)
        for product in dice.sample(products, dice.randint(1, 5))
    ]


def _review(dice: Random, products: list[Product], customers: list[Customer]) -> Review:
    return Review(
        product=dice.choice(products),
        customer=dice.choice(customers) if dice.random() < 0.9 else None,
        stars=dice.randint(1, 5),
        text=dice.choice(catalogue.OPINIONS),
        details={"quality": dice.randint(1, 10), "again": dice.random() < 0.8, "seen_in": dice.choice(["shop", "web"])},
        written_at=_moment(dice),
    )


def _moment(dice: Random) -> dt.datetime:
    return OPENING + dt.timedelta(minutes=dice.randint(0, TRADING_MINUTES))
