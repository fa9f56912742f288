"""Carriers: delivery to the sockets of this process (`hub`), and over HTTP to a gateway (`http`)."""
