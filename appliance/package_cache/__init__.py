"""Prebuilt packages per runtime, so that staging needs no network twice. Stagers ask over HTTP."""
