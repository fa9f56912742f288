"""The token endpoint: who gets a token, and who does not."""

import json
from typing import Any

import jwt
import pytest
from django.test import RequestFactory
from django.urls import reverse

from tellwire.django.views import token
from tests.unit.django.conftest import SECRET, User


def asked(user: User | None, method: str = "get", **headers: str) -> Any:
    request = getattr(RequestFactory(), method)(reverse("tellwire:token"), headers=headers)
    if user is not None:
        request.user = user
    return token(request)


def test_the_user_of_the_session_gets_a_token_that_nobody_keeps(ada: User) -> None:
    answer = asked(ada, **{"Sec-Fetch-Site": "same-origin"})
    claims = jwt.decode(json.loads(answer.content)["token"], SECRET, algorithms=["HS256"])
    assert claims["sub"] == "7"
    assert claims["exp"] - claims["iat"] == 3600
    assert (answer["Cache-Control"], answer["Cross-Origin-Resource-Policy"]) == ("no-store", "same-origin")
    assert "Access-Control-Allow-Origin" not in answer


@pytest.mark.parametrize("user", [None, User(None)])
def test_without_a_user_there_is_no_token(user: User | None) -> None:
    answer = asked(user)
    assert (answer.status_code, json.loads(answer.content)) == (401, {"error": "LOGIN_REQUIRED"})


def test_a_page_of_another_site_gets_none(ada: User) -> None:
    assert asked(ada, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_only_reading_is_possible(ada: User) -> None:
    assert asked(ada, "post").status_code == 405
