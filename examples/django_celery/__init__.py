"""Django, Celery and a gateway: a page that imports a file with live progress. See the README beside it."""
