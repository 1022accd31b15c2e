"""Checks JSON against docs/json.schema.json. Needs python3-jsonschema."""

import copy
import json
import os

import jsonschema

SCHEMA_PATH = os.path.join(os.path.dirname(__file__), "../../docs/json.schema.json")


def _strict(schema):
    """The schema, so that a field that it doesn't name is an error: users may meet new ones, but each
    that there is must be described."""
    if isinstance(schema, dict):
        for value in schema.values():
            _strict(value)
        if "properties" in schema and "allOf" not in schema and "required" in schema:
            schema["additionalProperties"] = False
    elif isinstance(schema, list):
        for value in schema:
            _strict(value)
    return schema


with open(SCHEMA_PATH, encoding="utf-8") as _file:
    PUBLISHED = json.load(_file)
STRICT = _strict(copy.deepcopy(PUBLISHED))


def _check(schema, document):
    validator = jsonschema.Draft202012Validator(schema)
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if error is not None:
        where = "/".join(str(part) for part in error.absolute_path)
        raise AssertionError(f"{where or 'the document'}: {error.message}")


def check_document(document):
    """A document of a command. Raises AssertionError if something in it is not as described."""
    _check(STRICT, document)


def check_attribute(name, value):
    """The JSON of user.xzfs.`name`."""
    _check({"$ref": f"#/$defs/attribute_{name}", "$defs": STRICT["$defs"]}, value)


def names_in(value):
    """The names of all fields in a document."""
    if isinstance(value, dict):
        return set(value).union(*map(names_in, value.values()))
    return set().union(*map(names_in, value)) if isinstance(value, list) else set()


def described_names(schema):
    """The names of all fields in a schema."""
    if isinstance(schema, list):
        return set().union(*map(described_names, schema))
    if not isinstance(schema, dict):
        return set()
    own = set(schema["properties"]) if isinstance(schema.get("properties"), dict) else set()
    return own.union(*map(described_names, schema.values()))
