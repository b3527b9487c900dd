"""What set-up raises when it cannot go on."""


class SetupError(Exception):
    """A message for a person: what failed, why, and the next step."""
