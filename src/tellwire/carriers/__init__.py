"""How messages travel to live connections. `hub`: to the sockets of this process; `http`: to a gateway elsewhere."""
