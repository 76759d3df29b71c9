"""Update operators on one field, strict about types, for mongomock-ng's walk through the document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bson import Decimal128, Int64

from mlipdb.embedded import keys
from mlipdb.embedded.failures import (
    BAD_VALUE,
    FAILED_TO_PARSE,
    PATH_NOT_VIABLE,
    TYPE_MISMATCH,
    CommandError,
    unsupported,
)

_MAX_ARRAY_GROWTH = 1_500_000


def _read(holder: Any, name: str) -> Any:
    """Value of a field or place of an array; :data:`keys.MISSING` where there is none."""
    if isinstance(holder, dict):
        return holder.get(name, keys.MISSING)
    if isinstance(holder, list) and name.isdigit():
        return holder[int(name)] if int(name) < len(holder) else keys.MISSING
    raise CommandError(PATH_NOT_VIABLE, f"Cannot create field {name!r} in an element that is not an object")


def _write(holder: Any, name: str, value: Any) -> None:
    current = _read(holder, name)
    if isinstance(holder, dict):
        holder[name] = value
        return
    place = int(name)
    if current is keys.MISSING:
        if place > len(holder) + _MAX_ARRAY_GROWTH:
            raise CommandError(BAD_VALUE, f"the array would grow to {place + 1} elements; 1,500,000 more are allowed")
        holder.extend([None] * (place + 1 - len(holder)))
    holder[place] = value


def _number(value: Any, operator: str) -> int | float:
    if isinstance(value, Decimal128):
        raise unsupported(f"{operator} of a Decimal128")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        message = f"Cannot apply {operator} to a value of non-numeric type {type(value).__name__}"
        raise CommandError(TYPE_MISMATCH, message)
    return value


def _integer_kind(result: int | float, *operands: Any) -> Any:
    """Keep a 64-bit integer one, and refuse what does not fit."""
    if isinstance(result, float):
        return result
    if not -(2**63) <= result < 2**63:
        raise CommandError(BAD_VALUE, f"the result {result} does not fit a 64-bit integer")
    return Int64(result) if any(isinstance(operand, Int64) for operand in operands) else result


def _set(holder: Any, name: str, value: Any, codec_options: Any = None) -> None:
    del codec_options
    _write(holder, name, value)


def _unset(holder: Any, name: str, value: Any, codec_options: Any = None) -> None:
    del value, codec_options
    if isinstance(holder, dict):
        holder.pop(name, None)
    elif isinstance(holder, list) and name.isdigit() and int(name) < len(holder):
        holder[int(name)] = None


def _increase(holder: Any, name: str, value: Any, codec_options: Any = None) -> None:
    del codec_options
    current = _read(holder, name)
    amount = _number(value, "$inc")
    base = 0 if current is keys.MISSING else _number(current, "$inc")
    _write(holder, name, _integer_kind(base + amount, base, amount))


def _multiply(holder: Any, name: str, value: Any, codec_options: Any = None) -> None:
    del codec_options
    current = _read(holder, name)
    factor = _number(value, "$mul")
    base = 0 if current is keys.MISSING else _number(current, "$mul")
    _write(holder, name, _integer_kind(base * factor, base, factor))


def _extreme(sign: int) -> Callable[..., None]:
    def update(holder: Any, name: str, value: Any, codec_options: Any = None) -> None:
        del codec_options
        current = _read(holder, name)
        if current is keys.MISSING:
            _write(holder, name, value)
            return
        new, old = keys.encode(value), keys.encode(current)
        if (new > old) if sign > 0 else (new < old):
            _write(holder, name, value)

    return update


def _pop(holder: Any, name: str, value: Any, codec_options: Any = None) -> None:
    del codec_options
    if isinstance(value, bool) or value not in (1, -1):
        raise CommandError(FAILED_TO_PARSE, f"$pop expects 1 or -1, found: {value!r}")
    current = _read(holder, name)
    if current is keys.MISSING:
        return
    if not isinstance(current, list):
        raise CommandError(TYPE_MISMATCH, "Path of $pop contains an element of non-array type")
    if current:
        current.pop(-1 if value == 1 else 0)


def _bits(holder: Any, name: str, value: Any, codec_options: Any = None) -> None:
    del codec_options
    current = _read(holder, name)
    current = 0 if current is keys.MISSING else current
    if not isinstance(value, dict) or set(value) - {"and", "or", "xor"} or not value:
        raise CommandError(BAD_VALUE, "$bit needs an object with and, or or xor")
    for operation, operand in value.items():
        if any(isinstance(side, bool) or not isinstance(side, int) for side in (current, operand)):
            raise CommandError(BAD_VALUE, "$bit works on integers only")
        both = (current, operand)
        results = {"and": current & operand, "or": current | operand, "xor": current ^ operand}
        current = _integer_kind(results[operation], *both)
    _write(holder, name, current)


def _array(holder: Any, name: str, operator: str) -> list[Any] | None:
    """Give the array to change, None where there is no such field."""
    current = _read(holder, name)
    if current is keys.MISSING:
        return None
    if not isinstance(current, list):
        raise CommandError(BAD_VALUE, f"Cannot apply {operator} to a non-array value in the field {name!r}")
    return current


def _values(value: Any, operator: str) -> list[Any]:
    """List the new elements: those of ``$each``, or the one value."""
    if isinstance(value, dict) and "$each" in value:
        if not isinstance(value["$each"], list):
            raise CommandError(TYPE_MISMATCH, f"The argument to $each in {operator} must be an array")
        return list(value["$each"])
    return [value]


def _add_to_set(holder: Any, name: str, value: Any, codec_options: Any = None) -> None:
    del codec_options
    array = list(_array(holder, name, "$addToSet") or [])
    known = set(map(keys.encode, array))
    for element in _values(value, "$addToSet"):
        if keys.encode(element) not in known:
            known.add(keys.encode(element))
            array.append(element)
    _write(holder, name, array)


def _pull_all(holder: Any, name: str, value: Any, codec_options: Any = None) -> None:
    del codec_options
    if not isinstance(value, list):
        raise CommandError(BAD_VALUE, "$pullAll requires an array argument")
    array = _array(holder, name, "$pullAll")
    if array is not None:
        unwanted = set(map(keys.encode, value))
        array[:] = [element for element in array if keys.encode(element) not in unwanted]


def _push(holder: Any, name: str, value: Any, codec_options: Any = None) -> None:
    del codec_options
    array = list(_array(holder, name, "$push") or [])
    new = _values(value, "$push")
    modifiers = value if isinstance(value, dict) and "$each" in value else {}
    unknown = set(modifiers) - {"$each", "$position", "$slice", "$sort"}
    if unknown:
        raise CommandError(BAD_VALUE, f"Unrecognized clause in $push: {min(unknown)}")
    for modifier in ("$position", "$slice"):
        if not isinstance(modifiers.get(modifier, 0), int) or isinstance(modifiers.get(modifier, 0), bool):
            raise CommandError(BAD_VALUE, f"the value of {modifier} in $push must be a whole number")
    place = modifiers.get("$position", len(array))
    array[place:place] = new
    if "$sort" in modifiers:
        array = _sorted(array, modifiers["$sort"])
    if "$slice" in modifiers:
        size = modifiers["$slice"]
        array = array[:size] if size >= 0 else array[size:]
    _write(holder, name, array)


def _sorted(array: list[Any], order: Any) -> list[Any]:
    if order in (1, -1):
        return sorted(array, key=keys.encode, reverse=order == -1)
    if not isinstance(order, dict) or not order or any(way not in (1, -1) for way in order.values()):
        raise CommandError(BAD_VALUE, "$sort in $push must be 1, -1 or an object of those")
    for path, way in reversed(order.items()):
        parts = path.split(".")
        array = sorted(
            array,
            key=lambda one, parts=parts, way=way: keys.sort_key(one, parts, descending=way < 0),  # type: ignore[misc]
            reverse=way < 0,
        )
    return array


UPDATERS: Final[dict[str, Callable[..., None]]] = {
    "$set": _set,
    "$unset": _unset,
    "$inc": _increase,
    "$mul": _multiply,
    "$max": _extreme(1),
    "$min": _extreme(-1),
    "$pop": _pop,
    "$bit": _bits,
    "$addToSet": _add_to_set,
    "$pullAll": _pull_all,
    "$push": _push,
}
