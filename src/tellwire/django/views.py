"""The token endpoint: a token for the user of the session.

It changes nothing, so it is a GET without a CSRF token. Its answer is for pages of this site alone: it is no script,
no other origin can read it, a request that a browser marks as one of another site is refused, and nobody keeps it.
"""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from tellwire.auth import mint_token
from tellwire.django.configuration import configuration, user_id_of


@require_safe
def token(request: HttpRequest) -> JsonResponse:
    """Answer with a token for the user who is logged in; 401: nobody is, 403: another site asks."""
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        return _answer({"error": "OTHER_SITE"}, 403)
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return _answer({"error": "LOGIN_REQUIRED"}, 401)
    own = configuration()
    return _answer({"token": mint_token(own.secret, user_id_of(user), own.token_ttl_seconds)}, 200)


def _answer(body: dict[str, str], status: int) -> JsonResponse:
    headers = {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin", "Vary": "Cookie"}
    return JsonResponse(body, status=status, headers=headers)
