"""The addresses of the app: `include("tellwire.django.urls")`."""

from django.urls import path

from tellwire.django.views import token

app_name = "tellwire"
urlpatterns = [path("token", token, name="token")]
