"""A model behind a page and a small web interface, on this machine."""
