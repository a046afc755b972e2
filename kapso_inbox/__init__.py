"""Kapso's WhatsApp inbox inside a Django CRM."""

__version__ = "0.1.0rc1"
