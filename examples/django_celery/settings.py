"""The settings of the project. `demo` says in the environment where its programs are."""

import os
from pathlib import Path

FOLDER = Path(os.environ.get("DEMO_FOLDER", Path(__file__).parent / "data"))
SECRET_KEY = "for development alone"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "examples.django_celery.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "tellwire.django",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "django.sqlite3",
        "ATOMIC_REQUESTS": True,
    }
}
CELERY_BROKER_URL = os.environ.get("DEMO_BROKER", "redis://127.0.0.1:6379")
CELERY_TASK_IGNORE_RESULT = True
TELLWIRE = {"URL": os.environ.get("DEMO_GATEWAY", "http://127.0.0.1:8787")}
