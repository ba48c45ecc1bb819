"""The shop's pages."""

from django.urls import path

from . import views

app_name = "shop"
urlpatterns = [
    path("", views.product_list, name="products"),
    path("products/<int:number>/", views.product, name="product"),
    path("products/<int:number>/reviews", views.add_review, name="add-review"),
    path("products.json", views.products_json, name="products-json"),
    path("files/<path:name>", views.file, name="file"),
    path("healthz", views.health, name="health"),
]
