"""The one exception of the library: what a user did can be put right, and the message says how."""


class FourierError(ValueError):
    """A configuration, model or file that cannot be used; the message names it, its value and the remedy."""
