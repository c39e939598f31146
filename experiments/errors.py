"""The one error that is the user's to mend: printed as a single message, exit code 2, no traceback."""


class UserError(Exception):
    """Something in the command, a config file, the data or the machine is wrong: names it, its value and the remedy."""
