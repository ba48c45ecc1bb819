"""The shop's tables in Django's admin."""

from django.contrib import admin

from .models import Category, Customer, Order, OrderLine, Product, Review


class OrderLines(admin.TabularInline):
    """The lines of an order, within it."""

    model = OrderLine
    extra = 1


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """Orders with their lines."""

    list_display = ["number", "customer", "state", "placed_at"]
    list_filter = ["state"]
    inlines = [OrderLines]


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """Products."""

    list_display = ["name", "category", "price", "tags"]
    search_fields = ["name", "description"]


admin.site.register([Category, Customer, Review])
