"""A model behind a web page and a small HTTP API, on this machine."""
