"""What the analysis has found, as a value."""

from msgspec import Struct

from interceptor.values import Place, Problem, Severity


class Finding(Struct, frozen=True):
    """One thing that holds of a policy. ``example`` is a message that shows it, in words; ``""`` where none is needed.

    ``rules`` are the labels of the rules it is about, the first the one at whose place it stands.
    """

    severity: Severity
    place: Place
    code: str
    message: str
    example: str = ""
    rules: tuple[str, ...] = ()

    @property
    def problem(self) -> Problem:
        """The finding as a problem of the file."""
        message = f"{self.message}; for example {self.example}" if self.example else self.message
        return Problem(self.place, message, self.code, self.severity)
