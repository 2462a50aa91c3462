"""Checks of options that several data sources have."""

from suite.errors import UserError


def check_whole(source: str, options: dict, **least: int) -> None:
    """Raise UserError unless each option that `least` names is a whole number from the one given there."""
    for name, lowest in least.items():
        value = options[name]
        if type(value) is not int or value < lowest:  # a bool is an int to isinstance
            raise UserError(f"{source}: {name} is {value!r}, allowed: whole numbers from {lowest}")


def check_share(source: str, options: dict, *names: str) -> None:
    """Raise UserError unless each of the named options is a number between 0 and 1."""
    for name in names:
        value = options[name]
        if not isinstance(value, float) or not 0 < value < 1:
            raise UserError(f"{source}: {name} is {value!r}, allowed: between 0 and 1")
