"""NodeSelectorTerms over label columns: which rows does a term select? (core/v1 NodeSelectorTerm)"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from controlplane.scheduler.columns import NodeColumns, Rows

NAME_FIELD = "metadata.name"
_INTEGER = re.compile(r"[+-]?[0-9]+")


def matching_term(term: Mapping[str, Any], nodes: NodeColumns) -> Rows:
    """Rows that satisfy all expressions and fields of the term; an empty term selects nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    matching = np.full(nodes.size, bool(expressions or fields))
    for requirement in expressions:
        matching &= _matching_expression(requirement, nodes)
    for requirement in fields:
        matching &= _matching_field(requirement, nodes)
    return matching


def named_nodes(terms: tuple[Mapping[str, Any], ...] | None) -> set[str] | None:
    """The only nodes that the terms can select, when each of them names nodes; else None."""
    if not terms:
        return None
    names: set[str] = set()
    for term in terms:
        sets = [
            set(requirement.get("values") or ())
            for requirement in term.get("matchFields") or ()
            if requirement["key"] == NAME_FIELD and requirement["operator"] == "In"
        ]
        if not sets:
            return None
        names |= set.intersection(*sets)
    return names


def _matching_expression(requirement: Mapping[str, Any], nodes: NodeColumns) -> Rows:
    key, operator, values = requirement["key"], requirement["operator"], requirement.get("values") or []
    if operator == "In":
        return nodes.labels.having_value_in(key, values, nodes.size)
    if operator == "NotIn":
        return ~nodes.labels.having_value_in(key, values, nodes.size)
    if operator == "Exists":
        return nodes.labels.having(key, nodes.size)
    if operator == "DoesNotExist":
        return ~nodes.labels.having(key, nodes.size)
    bound = _integer(values[0]) if len(values) == 1 else None
    if bound is None or operator not in ("Gt", "Lt"):
        return np.zeros(nodes.size, np.bool_)
    return nodes.labels.having_value_where(key, lambda value: _beyond(operator, value, bound), nodes.size)


def _matching_field(requirement: Mapping[str, Any], nodes: NodeColumns) -> Rows:
    if requirement["key"] != NAME_FIELD or requirement["operator"] not in ("In", "NotIn"):
        return np.zeros(nodes.size, np.bool_)
    named = _rows_named(requirement.get("values") or (), nodes)
    return named if requirement["operator"] == "In" else ~named


def _rows_named(names: Iterable[str], nodes: NodeColumns) -> Rows:
    rows = np.zeros(nodes.size, np.bool_)
    rows[[nodes.row_of[name] for name in names if name in nodes.row_of]] = True
    return rows


def _beyond(operator: str, value: str, bound: int) -> bool:
    number = _integer(value)
    return number is not None and (number > bound if operator == "Gt" else number < bound)


def _integer(text: str) -> int | None:
    return int(text) if _INTEGER.fullmatch(text) else None
