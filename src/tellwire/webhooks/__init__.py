"""Webhooks: signed requests of a gateway to the project's own server, at addresses that its settings name.

    signature   the headers of a request, and their verification (pure)
    target      an address with its secrets (pure)
    webhook     requests to one target: retried, never redirected, bounded, with a circuit breaker
    messages    a target as the handler of messages of own types
    escalations targets that are called when nobody has acknowledged a notification
    connect     a target that says who connects
    topics      a target that decides about topics, with a cache

An address never comes from a message or a client: whoever may publish cannot make a gateway call anything.
"""
