"""The commands of the `doppia` program, one module each."""


class CommandError(Exception):
    """A command can't do what it was asked to do; the text is the sentence that the user reads."""
