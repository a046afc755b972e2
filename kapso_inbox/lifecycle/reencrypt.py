"""Every stored secret under the first encryption key, so that an older one can be taken away."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf
from kapso_inbox.encryption import EncryptionError, key_id_of, prefix_of
from kapso_inbox.models import AccessLink, AccessLinkQuerySet

from .errors import InsideTransactionError
from .links import lose_secret, refuse_inside_transaction


@dataclass(frozen=True)
class Unreadable:
    """A stored secret that does not open.

    Attributes:
        slug: its embed's.
        link: its access link, as Kapso lists it.
        reason: in words.
    """

    slug: str
    link: str
    reason: str


@dataclass
class Report:
    """What a pass over the stored secrets found and did.

    Attributes:
        key_id: the key that everything is to be under: the first.
        dry_run: whether nothing was written; `reencrypted` then says what would have been.
        reencrypted: secrets that were under another key.
        current: secrets that were under the first key already, and open.
        changed_meanwhile: secrets that another process wiped or encrypted anew in between.
        unreadable: what does not open. The only part that grows, with how much is wrong.
        used_key_ids: the other configured keys that a stored secret is under now.
        unused_key_ids: the configured keys that no stored secret is under now.
    """

    key_id: str
    dry_run: bool
    reencrypted: int = 0
    current: int = 0
    changed_meanwhile: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)
    used_key_ids: list[str] = field(default_factory=list)
    unused_key_ids: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many stored secrets were looked at."""
        return self.reencrypted + self.current + self.changed_meanwhile + len(self.unreadable)


def reencrypt(*, batch_size: int = 200, dry_run: bool = False) -> Report:
    """Encrypt anew, under the first key, every stored secret that is under another one.

    It may be stopped at any point and repeated; launches, rotations and revocations go on. What
    does not open is left as it is, and its link, if `active`, becomes `secret_lost`.

    Args:
        batch_size: how many links are read at a time.
        dry_run: open everything, write nothing.

    Raises:
        ConfigurationError: there are no encryption keys, or they are malformed.
        InsideTransactionError: there is a transaction around the call; nothing was done.
        DatabaseError: the database failed. What was encrypted anew until then stays so.
    """
    keyring = conf.keyring()
    _refuse_inside_transaction()
    report = Report(keyring.current, dry_run)
    for link in _stored().select_related("embed").in_batches(batch_size):
        _reencrypt_one(link, report)
    # Asked again, since others wrote, too: under an old key what still runs on the old settings.
    # Where the database knows no case, a key may be taken for used that is not.
    stored = _stored()
    for key_id in keyring.key_ids[1:]:
        is_used = stored.filter(sealed_url__startswith=prefix_of(key_id)).exists()
        (report.used_key_ids if is_used else report.unused_key_ids).append(key_id)
    return report


def _refuse_inside_transaction() -> None:
    try:
        refuse_inside_transaction()
    except InsideTransactionError:
        raise InsideTransactionError(
            "Each secret is committed by itself, so that no rollback can bring back a key that was "
            "taken away. Call this outside of transaction.atomic(), with autocommit."
        ) from None


def _stored() -> AccessLinkQuerySet:
    return AccessLink.objects.for_write().exclude(sealed_url="")


@sensitive_variables()
def _reencrypt_one(link: AccessLink, report: Report) -> None:
    # Only in the place of what was read: a link that was revoked meanwhile stays without a secret.
    as_read = AccessLink.objects.for_write().filter(pk=link.pk, sealed_url=link.sealed_url)
    try:
        url = link.reveal_url()
        if key_id_of(link.sealed_url) == report.key_id:
            report.current += 1
            return
        link.store_url(url)
    except EncryptionError as error:
        if as_read.exists():
            report.unreadable.append(Unreadable(link.embed.slug, str(link), str(error)))
            if not report.dry_run:
                lose_secret(link, str(error))
        else:
            report.changed_meanwhile += 1
        return
    # Committed by itself: a batch in one transaction would hold locks that launches wait for, and
    # could meet a revocation that locks the same links in another order.
    if report.dry_run or as_read.update(sealed_url=link.sealed_url):
        report.reencrypted += 1
    else:
        report.changed_meanwhile += 1
