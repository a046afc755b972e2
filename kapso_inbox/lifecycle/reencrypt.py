"""Moving every stored secret to the first encryption key, so that an older key can be removed."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf
from kapso_inbox.encryption import (
    EncryptionError,
    UnreadableSecretError,
    key_id_of,
    prefix_of,
)
from kapso_inbox.models import AccessLink, AccessLinkQuerySet

from .errors import InsideTransactionError
from .links import lose_secret, refuse_inside_transaction


@dataclass(frozen=True)
class Unreadable:
    """A stored secret that cannot be decrypted.

    Attributes:
        slug: the slug of its embed.
        link: its access link, as Kapso lists it.
        reason: why it cannot be decrypted, in words.
    """

    slug: str
    link: str
    reason: str


@dataclass
class ReencryptReport:
    """What a pass over the stored secrets found and did.

    Attributes:
        key_id: the ID of the first key, under which every secret should be.
        dry_run: whether nothing was written; `reencrypted` then says what would have been.
        reencrypted: secrets that were under another key.
        current: secrets that were under the first key already, and can be decrypted.
        changed_meanwhile: secrets that another process wiped or encrypted again meanwhile.
        unreadable: secrets that cannot be decrypted. Only this part grows with how much is wrong.
        used_key_ids: the other configured keys that a stored secret is still under.
        unused_key_ids: the configured keys that no stored secret is under.
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
        """Return how many stored secrets were looked at."""
        return self.reencrypted + self.current + self.changed_meanwhile + len(self.unreadable)


def reencrypt(*, batch_size: int = 200, dry_run: bool = False) -> ReencryptReport:
    """Encrypt every stored secret that is under another key again, under the first key.

    You may stop this at any point and repeat it. Launches, rotations and revocations go on
    meanwhile. A secret that cannot be decrypted is left as it is. If that is not for want of its
    key, and its link is `active`, the link becomes `secret_lost`.

    Args:
        batch_size: how many links are read at a time.
        dry_run: decrypt everything, and write nothing.

    Raises:
        ConfigurationError: the encryption keys are missing or malformed.
        InsideTransactionError: the call is inside a transaction; nothing was done.
        DatabaseError: the database failed. What was encrypted until then stays so.
    """
    keyring = conf.keyring()
    _refuse_inside_transaction()
    report = ReencryptReport(keyring.current, dry_run)
    for link in _stored().select_related("embed").in_batches(batch_size):
        _reencrypt_one(link, report)
    # Asked again, since others write, too: processes with the old settings, under an old key. On a
    # database that ignores case, a key may seem to be used that is not.
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
            "removed. Call this outside of transaction.atomic(), with autocommit."
        ) from None


def _stored() -> AccessLinkQuerySet:
    return AccessLink.objects.for_write().exclude(sealed_url="")


@sensitive_variables()
def _reencrypt_one(link: AccessLink, report: ReencryptReport) -> None:
    # Write only over what was read: a link that was revoked meanwhile stays without a secret.
    as_read = AccessLink.objects.for_write().filter(pk=link.pk, sealed_url=link.sealed_url)
    try:
        if key_id_of(link.sealed_url) == report.key_id:
            link.reveal_url()  # which raises if that cannot be done
            report.current += 1
            return
        link.store_url(link.reveal_url())
    except EncryptionError as error:
        if as_read.exists():
            report.unreadable.append(Unreadable(link.embed.slug, str(link), str(error)))
            if isinstance(error, UnreadableSecretError) and not report.dry_run:
                lose_secret(link, error)
        else:
            report.changed_meanwhile += 1
        return
    # Committed by itself: one transaction for a batch would hold locks that launches wait for, and
    # could deadlock with a revocation that locks the same links in another order.
    if report.dry_run or as_read.update(sealed_url=link.sealed_url):
        report.reencrypted += 1
    else:
        report.changed_meanwhile += 1
