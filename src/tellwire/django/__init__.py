"""tellwire in a Django project: an app with settings, a token endpoint, template tags and a command.

    INSTALLED_APPS = [..., "tellwire.django"]
    TELLWIRE = {"URL": "http://127.0.0.1:8787", "API_KEY": "…", "JWT_SECRET": "…"}
    urlpatterns = [path("live/", include("tellwire.django.urls"))]

It needs the extra `django`. Views and tasks publish through `tellwire.sync`, which the settings reach.
"""

from tellwire.extras import needs_extra

with needs_extra("tellwire.django", "django"):
    from tellwire.django.configuration import user_id_of
    from tellwire.django.session import identify_by_session
    from tellwire.django.transactions import broadcast_to_topic_on_commit, broadcast_to_user_on_commit

__all__ = ["broadcast_to_topic_on_commit", "broadcast_to_user_on_commit", "identify_by_session", "user_id_of"]
