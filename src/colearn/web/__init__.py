"""Serving HTTP to strangers: doors, and how patient one is with who comes through them."""
