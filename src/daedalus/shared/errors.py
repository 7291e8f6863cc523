"""The one tree of errors. Raise with context; only drivers decide whether to try again.

Every message says what was wrong, where, and what to do. None ever holds a secret.
"""


class DaedalusError(Exception):
    """Base of every error that Daedalus raises on purpose. Its text is fit to show to a user."""


class ConfigError(DaedalusError):
    """The configuration, a flag or an environment variable is wrong. Final until the user changes it."""


class CollectorError(DaedalusError):
    """A connection to an exchange cannot go on as it is."""


class TransientCollectorError(CollectorError):
    """The connection was lost or went silent: connecting again helps.

    Parameters
    ----------
    message
        What happened.
    reason
        The cause that the gap ledger records: a member of `events.GAP_REASONS`.
    retry_after
        Seconds that the exchange asked to wait, or None.
    """

    def __init__(self, message: str, reason: str = "disconnect", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class MalformedError(CollectorError):
    """A frame that is not what the protocol promises. It costs that frame alone."""


class RefusedError(CollectorError):
    """The exchange refused all that was asked of it. Final: connecting again would be refused again."""


class StorageError(DaedalusError):
    """A file or an object could not be read or written."""


class NotFoundError(StorageError):
    """There is nothing under that key. Never raised when access was denied."""


class DeniedError(StorageError):
    """The store refused: credentials are missing, wrong or expired, or lack the right."""


class AlreadyExistsError(StorageError):
    """A create-only put found the key taken."""


class TransientStorageError(StorageError):
    """The store did not answer as it should: trying again may help."""


class CorruptError(StorageError):
    """Stored bytes are not what was written: a checksum or a footer disagrees."""


class SchemaError(DaedalusError):
    """Columns, types or partition values are not those of the declared schema."""


class StateError(DaedalusError):
    """A carried state does not belong to this configuration, version or symbol."""
