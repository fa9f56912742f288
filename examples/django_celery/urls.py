"""The addresses of the project."""

from django.urls import include, path

from examples.django_celery.views import page, start

urlpatterns = [
    path("", page, name="page"),
    path("import", start, name="import"),
    path("live/", include("tellwire.django.urls")),
]
