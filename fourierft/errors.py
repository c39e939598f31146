"""The one exception of the library, for what a user can correct; the message says how."""


class FourierError(ValueError):
    """A configuration, model or file cannot be used; the message names it, its value and the remedy."""


def require(valid: bool, field: str, value: object, remedy: str) -> None:
    """Raises FourierError, naming the field, its value and the remedy, unless the value is valid."""
    if not valid:
        raise FourierError(f"{field}={value!r} is not possible: give {remedy}")
