"""The commands of the `doppia` program, one module each."""


class CommandError(Exception):
    """What a command can't do; the text is the sentence that is shown."""
