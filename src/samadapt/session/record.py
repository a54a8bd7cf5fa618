"""`Record`: an entry of a session's log, and its JSON."""

from __future__ import annotations

from dataclasses import dataclass

from samadapt.errors import SessionError
from samadapt.session.event_json import DAMAGED, build, checksum_of, dump, parse, plain, value_of
from samadapt.session.events import KINDS, Event

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a log.

    Attributes:
        sequence: 0, 1, 2, ...; the order of events.
        time: seconds since 1970 by the wall clock, for people only: clocks jump.
        event: the event.
        key: idempotency key of its request, if any: repeating the request does nothing.
        request: identifies that request; None where it is not known.
    """

    sequence: int
    time: float
    event: Event
    key: str | None = None
    request: str | None = None

    def to_json(self) -> str:
        """One line of JSON, with a checksum (CRC-32) against damage."""
        body = {
            "version": FORMAT_VERSION,
            "sequence": self.sequence,
            "time": self.time,
            "kind": self.event.kind,
            **({} if self.key is None else {"key": self.key}),
            **({} if self.request is None else {"request": self.request}),
            **plain(self.event),
        }
        return dump({**body, "crc": checksum_of(body)})

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read a line that `to_json` wrote.

        Raises:
            SessionError: damaged, of a newer version, or of an unknown kind.
        """
        body = parse(text)
        version = body.pop("version", None)
        if type(version) is not int or version < 1:
            raise SessionError("not an event of samadapt (it has no version number)")
        if version > FORMAT_VERSION:
            raise SessionError(
                f"event of format version {version}, this samadapt reads up to {FORMAT_VERSION}: "
                "install a newer samadapt"
            )
        checksum = body.pop("crc", None)
        if checksum != checksum_of({"version": version, **body}):
            raise SessionError(DAMAGED.format("its checksum does not match"))
        kind = KINDS.get(str(body.pop("kind", "")))
        if kind is None:
            raise SessionError(f"unknown kind of event in {text[:80]!r}: install a newer samadapt")
        sequence = value_of(int, body.pop("sequence", None), "sequence")
        time = value_of(float, body.pop("time", None), "time")
        key = value_of(str | None, body.pop("key", None), "key")
        request = value_of(str | None, body.pop("request", None), "request")
        return cls(sequence, time, build(kind, body), key, request)
