"""The page, and the form on it that begins an import. Its visitor is signed in as Ada."""

from uuid import uuid4

from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from examples.django_celery.tasks import import_parts
from tellwire.django import broadcast_to_user_on_commit, user_id_of
from tellwire.sync import create_notification_message

SAMPLE = "part,quantity\n" + "".join(f"{3000 + number},{number % 7 or ''}\n" for number in range(600))


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the uploads of the user."""
    if not request.user.is_authenticated:
        ada, _ = get_user_model().objects.get_or_create(username="ada")
        login(request, ada)
    return render(request, "imports.html")


@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """Keep the file, and give it to a worker once the transaction is committed."""
    given = request.FILES.get("file")
    name, text = (given.name or "parts.csv", given.read()) if given else ("sample.csv", SAMPLE.encode())
    path = settings.FOLDER / f"{uuid4().hex}.csv"
    path.write_bytes(text)
    user = user_id_of(request.user)
    transaction.on_commit(lambda: import_parts.delay(user, str(path), name))
    broadcast_to_user_on_commit(user, create_notification_message("Import accepted", name, "info"))
    return redirect("page")
