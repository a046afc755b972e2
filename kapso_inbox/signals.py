"""What happens to embeds, for hosts that want to know. None of them carries a secret.

Receivers run after the commit. One that fails is logged by Django and changes nothing.

- `embed_created`: `embed`, `actor`.
- `link_rotated`: `embed`, `actor`.
- `embed_revoked`: `embed`, `actor`. Its launches have ended; Kapso may not have confirmed yet.
- `inbox_opened`: `embed`, `user`, `request`.
- `secret_lost`: `embed`, `link`. Its address cannot be read here any more.

`sender` is `InboxEmbed`. `actor` is what the caller gave: a user, a name, or None.
"""

from __future__ import annotations

from django.dispatch import Signal

embed_created = Signal()
link_rotated = Signal()
embed_revoked = Signal()
inbox_opened = Signal()
secret_lost = Signal()
