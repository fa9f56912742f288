"""The custom elements in a template: `{% load tellwire %}`, one script, and an element where it should be seen.

{% tellwire_script %} {% tellwire_bell %} {% tellwire_uploads %} {% tellwire_toasts %} {% tellwire_status %}

Without a user who is logged in they are empty.
"""

from functools import lru_cache
from typing import Any

from django import template
from django.template import Context
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from tellwire.django.configuration import configuration, user_id_of
from tellwire.django.script import ScriptAddresses

register = template.Library()


@lru_cache(maxsize=16)
def _addresses(url: str, public_url: str) -> ScriptAddresses:
    return ScriptAddresses(url, public_url)


@register.simple_tag(takes_context=True)
def tellwire_script(context: Context) -> SafeString:
    """Load the elements, with the hash of the script; with a nonce, if the page's policy has one (`csp_nonce`)."""
    own = configuration()
    script = _addresses(own.url or own.address, own.address).current()
    attributes = {"type": "module", "src": script.src, "crossorigin": "anonymous", "integrity": script.integrity}
    # Django's own is made when it is first written; before, it is false.
    nonce = context.get("csp_nonce")
    attributes["nonce"] = "" if nonce is None else str(nonce)
    return format_html("<script{}></script>", _joined(attributes))


@register.simple_tag(takes_context=True)
def tellwire_uploads(context: Context) -> SafeString:
    """Show the user's uploads."""
    return _element("uploads", context)


@register.simple_tag(takes_context=True)
def tellwire_bell(context: Context) -> SafeString:
    """Show a bell with the user's notifications."""
    return _element("bell", context)


@register.simple_tag(takes_context=True)
def tellwire_toasts(context: Context) -> SafeString:
    """Show notifications as they arrive."""
    return _element("toasts", context)


@register.simple_tag(takes_context=True)
def tellwire_status(context: Context) -> SafeString:
    """Show the state of the connection."""
    return _element("status", context)


def _element(name: str, context: Context) -> SafeString:
    user: Any = context.get("user") or getattr(context.get("request"), "user", None)
    if user is None or not user.is_authenticated:
        return SafeString("")
    attributes = {"token-url": reverse("tellwire:token"), "user": user_id_of(user)}
    return format_html("<tellwire-{0}{1}></tellwire-{0}>", SafeString(name), _joined(attributes))


def _joined(attributes: dict[str, str]) -> SafeString:
    return format_html_join("", ' {}="{}"', ((name, value) for name, value in attributes.items() if value))
