"""The addresses of the project for unit tests."""

from django.urls import include, path

urlpatterns = [path("live/", include("tellwire.django.urls"))]
