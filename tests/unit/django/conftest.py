"""A Django project for unit tests: its settings, without a file of them, and users without a table."""

import atexit
import shutil
import tempfile
from pathlib import Path

import django
import pytest
from django.conf import settings

SECRET = "a-secret-for-tests-of-forty-characters.."
URL = "http://127.0.0.1:9"
TELLWIRE = {"URL": URL, "API_KEY": "key-for-tests-0123456789", "JWT_SECRET": SECRET}


def _database() -> str:
    # Django never closes its connections to a database in memory, also not those of threads that have ended.
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(folder / "users.sqlite3")


if not settings.configured:
    settings.configure(
        SECRET_KEY="for tests",
        ALLOWED_HOSTS=["testserver"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": _database()}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "tellwire.django"],
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        MIGRATION_MODULES={"auth": None, "contenttypes": None},
        LOGGING_CONFIG=None,
        ROOT_URLCONF="tests.unit.django.urls",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        TELLWIRE=TELLWIRE,
    )
    with pytest.MonkeyPatch.context() as environment:
        for name in ("TELLWIRE_URL", "TELLWIRE_API_KEY"):
            environment.setenv(name, "")  # the app sets them for the process; other tests have none
        django.setup()


class User:
    """A user of Django, as the app needs it."""

    def __init__(self, pk: int | None) -> None:
        self.pk = pk
        self.username = f"name-{pk}"
        self.is_authenticated = pk is not None


@pytest.fixture
def ada() -> User:
    return User(7)
