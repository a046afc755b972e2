"""What happens to embeds, for hosts that want to know. No signal carries a secret.

The sender is always `InboxEmbed`. Receivers run once the change is committed, and never inside a
transaction that could still be rolled back. A receiver that fails is logged by Django and changes
nothing. `actor` is what the caller gave: a user, a name, or None.

- `embed_created`: `embed`, `actor`.
- `embed_updated`: `embed`, `actor`, `changes` (the names of the changed fields, a tuple).
- `link_rotated`: `embed`, `actor`.
- `embed_revoked`: `embed`, `actor`, `reason`: `requested` by `revoke_embed()`, or `found_revoked`
  or `not_found` where Kapso says that the link is over. Launches have ended; after `requested`,
  Kapso may not have confirmed it yet.
- `embed_deleted`: `embed` (without a primary key), `actor`.
- `inbox_opened`: `embed`, `user`, `request`.
- `secret_lost`: `embed`, `link`. The link's address can no longer be read here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import Signal

from .models import InboxEmbed
from .transactions import database, is_inside_transaction

embed_created = Signal()
embed_updated = Signal()
link_rotated = Signal()
embed_revoked = Signal()
embed_deleted = Signal()
inbox_opened = Signal()
secret_lost = Signal()


def send_after_commit(signal: Signal, **arguments: Any) -> None:
    """Send a signal now, or once the transaction around the call has been committed.

    Args:
        signal: one of this module's.
        arguments: what the signal carries.
    """
    send = partial(signal.send_robust, InboxEmbed, **arguments)
    if is_inside_transaction():
        transaction.on_commit(send, using=database(), robust=True)
    else:
        send()
