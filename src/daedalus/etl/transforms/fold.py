"""The feature engine at work on one market: what the feature transforms share when they are put down and taken up."""

import json

from daedalus.etl.features.engine import FeatureSet
from daedalus.shared.errors import StateError


class EngineFold:
    """Holds the state of the engine between stretches of the streams.

    At the end of a stretch, what is left of the streams beside the rows goes into the state too, where it waits for the
    rows that may see it. So everything a later stretch needs is in the state, and how streams are cut changes no bit.

    Parameters
    ----------
    features
        What is computed.
    data
        What `to_bytes` of an earlier fold returned; None: nothing has been seen.

    Raises
    ------
    StateError
        If the bytes are no state of these features.
    """

    #: After every receive time.
    END = 2**63 - 1

    def __init__(self, features: FeatureSet, data: bytes | None = None) -> None:
        self.features = features
        #: Small facts that a transform carries beside the engine.
        self.carried: dict[str, list[int]] = {}
        self.state = features.new_state()
        if data is not None:
            head, _, body = data.partition(b"\n")
            try:
                self.carried = {name: [int(x) for x in values] for name, values in json.loads(head).items()}
            except (ValueError, TypeError, AttributeError) as error:
                raise StateError(f"the state cannot be read ({error}): start afresh with --reset-state") from error
            self.state = features.state_from_bytes(body)

    def to_bytes(self) -> bytes:
        """Return all that a later fold needs to go on."""
        head = json.dumps(self.carried, sort_keys=True, separators=(",", ":")).encode()
        return head + b"\n" + self.features.state_to_bytes(self.state)
