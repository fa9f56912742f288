"""A Django program with the gateway beside it, at /live."""

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from tellwire import Settings, create_message, tellwire_app
from tests.conftest import API_KEY, SECRET

live = tellwire_app(Settings(jwt_secret=SECRET, api_key=API_KEY, engine="memory", drain_seconds=2))


async def say(request: HttpRequest) -> JsonResponse:
    """Publish through the broadcaster, from a view."""
    done = await live.broadcaster.broadcast_to_user("ada", create_message("said", {"text": "django"}))
    return JsonResponse({"delivered": done.delivered})


urlpatterns = [path("say", say)]
settings.configure(ROOT_URLCONF=__name__, SECRET_KEY=SECRET, ALLOWED_HOSTS=["127.0.0.1"])
django.setup()
app = live.beside(get_asgi_application(), "/live")
