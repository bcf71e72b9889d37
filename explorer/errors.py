"""The two exceptions that a person may see the text of."""


class InputError(ValueError):
    """Something the user gave cannot be used. The message is one sentence: what was wrong, what would be right.

    The command line prints it and exits with code 2; the page shows it where the user looks. Any other exception is
    a defect of ours.
    """


class Cancelled(Exception):
    """The user stopped a long computation; what was finished before is kept."""
