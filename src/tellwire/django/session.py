"""The user of a Django session, for a gateway in the same program: no tokens, and the cookie that the page has anyway.

It needs no middleware: it reads the session of the cookie as Django's own does, with the user's password in its hash.
So a session that has ended, and one from before a change of the password, is nobody's.
"""

from importlib import import_module

from django.conf import settings
from django.db import close_old_connections
from django.http import HttpRequest

from tellwire.auth.request import HandshakeRequest, Who
from tellwire.django.configuration import user_id_of


def identify_by_session(request: HandshakeRequest) -> Who:
    """Return the id of the user whose session a request has; None: nobody is logged in. For `identify=`.

    It reads the session and the user, so a gateway calls it in a thread.

    Example:
        live = tellwire_app(Settings(), identify=identify_by_session)
        application = live.beside("/live", get_asgi_application())
    """
    from django.contrib.auth import get_user  # it needs Django's apps, and this module may be imported before

    key = request.cookies.get(settings.SESSION_COOKIE_NAME)
    if not key:
        return None
    asked = HttpRequest()
    asked.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    close_old_connections()
    try:
        user = get_user(asked)
        return user_id_of(user) if user.is_authenticated and user.is_active else None
    finally:
        close_old_connections()
