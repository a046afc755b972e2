"""An optional app: which WhatsApp conversations wait for an answer or for a human.

Add `kapso_inbox.conversations` to `INSTALLED_APPS`, after `kapso_inbox`.
"""
