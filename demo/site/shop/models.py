"""The shop's tables."""

from decimal import Decimal
from uuid import uuid4

from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from . import columns


class Customer(models.Model):
    """Somebody who orders."""

    name = models.CharField(max_length=120)
    email = models.EmailField(unique=True)
    address = models.JSONField(default=dict)
    birthday = models.DateField(null=True, blank=True)
    joined_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Category(models.Model):
    """A shelf, perhaps within another."""

    name = models.CharField(max_length=80)
    slug = models.SlugField(unique=True)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    """Something to buy, with its picture."""

    name = models.CharField(max_length=120)
    slug = models.SlugField(unique=True, allow_unicode=True)
    sku = models.UUIDField(unique=True, default=uuid4, editable=False)
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="products")
    price = models.DecimalField(max_digits=9, decimal_places=2)
    description = models.TextField(blank=True)
    tags = columns.words()
    attributes = models.JSONField(default=dict, blank=True)
    image = models.ImageField(upload_to="products/", max_length=400, blank=True)
    sheet = models.FileField(upload_to="sheets/", max_length=400, blank=True)
    thumbnail = models.BinaryField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        indexes = [
            GinIndex(fields=["tags"], name="product_tags"),
            GinIndex(fields=["attributes"], name="product_attributes"),
        ] if columns.IS_POSTGRES else []

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """What a customer ordered, and how far it is."""

    class State(models.TextChoices):
        """How far an order is."""

        CART = "cart"
        PAID = "paid"
        SHIPPED = "shipped"
        RETURNED = "returned"

    number = models.CharField(max_length=20, unique=True)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="orders")
    state = models.CharField(max_length=10, choices=State.choices, default=State.CART)
    note = models.TextField(blank=True)
    placed_at = models.DateTimeField(default=timezone.now, db_index=True)
    products = models.ManyToManyField(Product, through="OrderLine", related_name="orders")

    class Meta:
        ordering = ["-placed_at"]

    def __str__(self) -> str:
        return self.number


class OrderLine(models.Model):
    """One product within an order, at the price of that day."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="lines")
    quantity = models.PositiveSmallIntegerField(default=1)
    unit_price = models.DecimalField(max_digits=9, decimal_places=2, default=Decimal("0"))

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["order", "product"], name="one_line_per_product"),
            models.CheckConstraint(condition=models.Q(quantity__gt=0), name="quantity_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"


class Review(models.Model):
    """What a customer thinks of a product."""

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="reviews")
    customer = models.ForeignKey(Customer, null=True, blank=True, on_delete=models.SET_NULL, related_name="reviews")
    stars = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(5)])
    text = models.TextField(blank=True)
    details = models.JSONField(default=dict, blank=True)
    written_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-written_at"]
        constraints = [models.CheckConstraint(condition=models.Q(stars__range=(1, 5)), name="stars_from_1_to_5")]

    def __str__(self) -> str:
        return f"{self.stars} stars for {self.product}"
