"""A node on Redis: its name and lease among the others, its connections, and the channels that it hears.

parts ─▶ nodes          names and leases          registry ─▶ Redis: who is connected, on all nodes
      ─▶ subscriptions ─▶ channels ─▶ channel_link ─▶ Redis        presence ─▶ registry
      ─▶ carrier        delivery to connections of any node; producers without HTTP have it, too
"""
