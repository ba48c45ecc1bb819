"""The shop's pages, and the same as JSON."""

import mimetypes

from django.core.files.storage import default_storage
from django.core.paginator import Paginator
from django.db.models import Avg, Count
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from .forms import ReviewForm
from .models import Customer, Order, Product, Review

PAGE = 24


@require_GET
def product_list(request: HttpRequest) -> HttpResponse:
    """Products with their pictures, a page at a time; `?tag=` narrows them down."""
    products = Product.objects.select_related("category").annotate(
        stars=Avg("reviews__stars"), review_count=Count("reviews")
    )
    if tag := request.GET.get("tag"):
        products = products.filter(tags__contains=[tag])
    page = Paginator(products, PAGE).get_page(request.GET.get("page"))
    return render(request, "shop/product_list.html", {"page": page, "tag": tag or ""})


@require_GET
def product(request: HttpRequest, number: int) -> HttpResponse:
    """One product with its reviews."""
    found = get_object_or_404(Product.objects.select_related("category"), pk=number)
    return render(request, "shop/product.html", {"product": found, "form": ReviewForm()})


@require_POST
def add_review(request: HttpRequest, number: int) -> HttpResponse:
    """Add a visitor's review."""
    found = get_object_or_404(Product, pk=number)
    form = ReviewForm(request.POST)
    if not form.is_valid():
        return render(request, "shop/product.html", {"product": found, "form": form}, status=422)
    form.instance.product = found
    form.save()
    return redirect("shop:product", number)


@require_GET
def products_json(request: HttpRequest) -> JsonResponse:
    """Every product, for scripts."""
    rows = [
        {
            "id": found.pk,
            "name": found.name,
            "price": str(found.price),
            "tags": found.tags,
            "attributes": found.attributes,
            "image": request.build_absolute_uri(reverse("shop:file", args=[found.image.name])) if found.image else None,
        }
        for found in Product.objects.order_by("pk")
    ]
    return JsonResponse({"products": rows})


@require_GET
def file(request: HttpRequest, name: str) -> HttpResponse:
    """An uploaded file, read from the storage."""
    if not default_storage.exists(name):
        raise Http404(f"there is no file {name}")
    kind, _ = mimetypes.guess_type(name)
    return FileResponse(default_storage.open(name, "rb"), content_type=kind or "application/octet-stream")


@require_GET
def health(request: HttpRequest) -> JsonResponse:
    """How many rows there are: the database answers."""
    counts = {model._meta.model_name: model.objects.count() for model in (Customer, Product, Order, Review)}
    return JsonResponse({"status": "ok", "rows": counts})
