"""Values that people write, as YAML or on a command line: read strictly, checked against a JSON Schema."""

import math
from pathlib import Path

import jsonschema
import yaml

from suite.errors import UserError
from suite.modules import shown


def _whole(_, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _finite(_, value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


# Whole numbers are written without a point, since some would be counted with; numbers are finite.
Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _whole, "number": _finite}
    ),
)
LONGEST = 160  # letters of a value that an error repeats


def fault(value: object, schema: dict) -> tuple[str, str] | None:
    """(place, what is wrong there) of the first thing that a schema does not allow; None where it allows all.

    >>> fault({"k": [1, -2]}, {"properties": {"k": {"items": {"minimum": 0}}}})
    ('k.1', '-2 is less than the minimum of 0')
    """
    for error in Validator(schema).iter_errors(value):
        return ".".join(map(str, error.absolute_path)), _explained(error)
    return None


def schema_fault(schema: dict) -> str | None:
    """What is wrong with a JSON Schema itself."""
    for error in Validator(Validator.META_SCHEMA).iter_errors(schema):
        return error.message
    return None


def _explained(error: jsonschema.ValidationError) -> str:
    given, limit = error.instance, error.validator_value
    text = repr(given) if len(repr(given)) <= LONGEST else f"{repr(given)[:LONGEST]} …"
    match error.validator:
        case "maxLength":
            return f"{text} has {len(given)} letters; at most {limit} are allowed"
        case "type" if isinstance(given, str) and _is_number(given):
            return f"{text} is text; a number is written without quotes, as 0.001 or 1.0e-3"
        case "type":
            return f"{text} is not of type {limit!r}"
    return error.message.replace(repr(given), text)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


class _Loader(yaml.SafeLoader):
    """YAML in which no key of a mapping stands twice: the last would win unnoticed."""

    where = ""

    def compose_mapping_node(self, anchor):
        node, seen = super().compose_mapping_node(anchor), set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise UserError(f"{self.where}, line {line}: the key {key.value} stands there twice")
                seen.add(key.value)
        return node


def parse_yaml(text: str, where: str) -> object:
    """What YAML text says: mappings with text as keys, lists, text, numbers, true, false and null.

    Raises UserError, which says where, for text that is no YAML, a key that stands twice, and keys and values
    of other types. Whole numbers may be keys below `by_size`.
    """
    loader = None
    try:
        loader = _Loader(text)
        loader.where = where
        value = loader.get_single_data()
        _check_types(value, where)
        return value
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{where} is not YAML: {error}") from error
    except RecursionError as error:
        raise UserError(f"{where} holds something that contains itself, or is nested too deeply") from error
    finally:
        if loader is not None:
            loader.dispose()


def _check_types(value: object, where: str, key: str = "") -> None:
    """Raise UserError for what YAML makes of words that were meant as text: no, on, 2, 2026-01-01."""
    if isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str) and not (key == "by_size" and _whole(None, name)):
                raise UserError(
                    f"{where}: {key or 'top level'} has the key {name!r}, which is no text: YAML reads no, "
                    'on, null, 2 … as other things; put the key in quotes, as in "no":'
                )
            _check_types(each, where, str(name))
    elif isinstance(value, list):
        for each in value:
            _check_types(each, where, key)
    elif not isinstance(value, str | int | float | None):
        raise UserError(f"{where}: {key} is read as {type(value).__name__} {value}; put it in quotes")


def read_text(path: str | Path) -> str:
    """A file's text. Raises UserError for one that cannot be read or is not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{shown(Path(path))} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{shown(Path(path))} cannot be read: {error.strerror}") from error


def read_yaml(path: str | Path) -> object:
    """What a YAML file says: see `parse_yaml` and `read_text`."""
    return parse_yaml(read_text(path), shown(Path(path)))
