"""The errors that the user can correct: printed in one message without a traceback, exit code 2."""


class UserError(Exception):
    """Something is wrong in the command, a file or the machine: names it, its value and the remedy."""


class Diverged(UserError):
    """The loss is no longer a number."""
