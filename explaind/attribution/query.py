"""The query: which axes of the tensor of influences are kept, over which steps, groups and target.

    axes of the tensor   step × layer (or parameter) × train × test × output

An axis that is not kept is summed over. `importance` names axes over which absolute values are summed, last: everything
that is not kept and not in `importance` is summed inside the absolute value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real

from explaind.errors import QueryError
from explaind.features.groups import Groups

AXES = ("step", "layer", "parameter", "train", "test", "output")
LINEAGES = ("update", "sample")


@dataclass(frozen=True)
class Query:
    """A validated query to the tensor of influences.

    Attributes:
        keep: kept axes; "layer" and "parameter" exclude each other.
        importance: axes of absolute values, out of "test" and "output", none of them kept.
        steps: the updates that are explained: a slice, a sequence of update numbers, or None for all.
        groups: see `explaind.features.groups.make_partition`.
        target: "output", "loss", "margin", a module path, a function h(outputs, targets), or (module path, h).
        lineage: on a kept step axis, credit a sample's gradient at the "update" in which momentum lets it act, or at the
            update whose batch held the "sample". Totals agree.
        tolerance: accepted |residual| of every step and row, in units of the target; a row is a test sample and output where
            both are resolved, else it may be their sum.
        max_nodes: most midpoint nodes of a step and row; the largest power of three up to it acts.
        nodes: a fixed number of nodes in place of the certified adaptive rule.
        tail_tolerance: momentum weight below which gradients from before the window are left out (0: none is).
        samples: training samples on a kept train axis: a slice, or their numbers; the others are summed. None for all.
    """

    keep: Sequence[str] = ("step", "layer")
    importance: Sequence[str] = ()
    steps: slice | Sequence[int] | None = None
    groups: Groups = None
    target: str | Callable | tuple[str, Callable] = "output"
    lineage: str = "update"
    tolerance: float = 1e-2
    max_nodes: int = 81
    nodes: int | None = None
    tail_tolerance: float = 1e-5
    samples: slice | Sequence[int] | None = None
    _resolved: tuple[str, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        keep = _axes(self.keep, AXES, "keep")
        importance = _axes(self.importance, ("test", "output"), "importance")
        if len(set(keep)) != len(keep):
            raise QueryError("An axis is kept twice.", got=", ".join(keep))
        if "layer" in keep and "parameter" in keep:
            raise QueryError(
                "The axes 'layer' and 'parameter' cannot both be kept.",
                expected="'layer' for groups of parameters, or 'parameter' for single ones",
            )
        if both := set(keep) & set(importance):
            raise QueryError(
                f"The axis {min(both)!r} is both kept and summed over as an absolute value.",
                expected="an importance over axes that are not kept",
            )
        if self.groups == "parameter" and "layer" in keep:
            raise QueryError(
                "Single parameters form the axis 'parameter'.", remedy="Keep 'parameter', not 'layer'."
            )
        if self.lineage not in LINEAGES:
            raise QueryError(
                "The lineage is unknown.", expected=" or ".join(LINEAGES), got=repr(self.lineage)
            )
        if not _is_target(self.target):
            raise QueryError(
                "The target is not understood.",
                expected="'output', 'loss', 'margin', a function of (outputs, targets), the path of a module, or a pair of "
                "such a path and a function of (its activation, targets)",
                got=repr(self.target),
            )
        for name, value in (("tolerance", self.tolerance), ("tail_tolerance", self.tail_tolerance)):
            if not (isinstance(value, Real) and value >= 0):
                raise QueryError(f"The {name} is not usable.", expected="a number ≥ 0", got=repr(value))
        if self.tail_tolerance >= 1:
            raise QueryError(
                "The tail_tolerance is not usable.",
                expected="a number below 1, the weight that momentum gives an update's own gradient at most",
                got=repr(self.tail_tolerance),
            )
        for name, value in (("max_nodes", self.max_nodes), ("nodes", self.nodes)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise QueryError(
                    f"The number {name} is not usable.", expected="a whole number ≥ 1", got=repr(value)
                )
        object.__setattr__(self, "keep", keep)
        object.__setattr__(self, "importance", importance)
        object.__setattr__(self, "_resolved", tuple(a for a in AXES if a in keep or a in importance))

    def keeps(self, axis: str) -> bool:
        """Is the axis in the result?"""
        return axis in self.keep

    def resolves(self, axis: str) -> bool:
        """Is the axis kept, or needed one by one for an absolute value?"""
        return axis in self._resolved

    @property
    def contracts(self) -> bool:
        """Does the answer need gradients of single batches or samples, not the observed updates alone?"""
        return self.keeps("train") or (self.lineage == "sample" and self.keeps("step"))

    @property
    def effective_groups(self) -> Groups:
        """The partition that the kept axes need: single parameters, the groups of the query, or all of them together."""
        if self.keeps("parameter"):
            return "parameter"
        return self.groups if self.keeps("layer") else "all"


def select_steps(steps: slice | Sequence[int] | None, total: int) -> tuple[int, ...]:
    """The update numbers that `steps` names in a run of `total` updates, rising.

    Raises:
        QueryError: a slice with a step or a sequence with repeated or missing updates.
    """
    if steps is None:
        return tuple(range(total))
    if isinstance(steps, slice):
        if not all(bound is None or whole(bound) for bound in (steps.start, steps.stop)):
            raise QueryError("The steps are not whole numbers.", expected="slice(200, 250)", got=repr(steps))
        if steps.step not in (None, 1):
            raise QueryError(
                "A slice of steps must not skip any.", remedy="Pass the list of steps for a subset."
            )
        start, stop, _ = steps.indices(total)
        if start >= stop and (steps.start or 0) != (steps.stop if steps.stop is not None else -1):
            raise QueryError(
                "The steps are outside the recording.",
                expected=f"steps within [0, {total})",
                got=f"[{steps.start}, {steps.stop})",
            )
        return tuple(range(start, stop))
    steps = list(steps) if isinstance(steps, Iterable) else [steps]
    if not all(whole(s) for s in steps):
        raise QueryError(
            "The steps are not whole numbers.",
            expected="a slice, or a list of update numbers such as [3, 7, 9]",
            got=repr(steps),
        )
    chosen = tuple(int(s) for s in steps)
    if len(set(chosen)) != len(chosen) or any(not 0 <= s < total for s in chosen):
        raise QueryError(
            "The steps are not usable.",
            expected=f"different update numbers within [0, {total})",
            got=", ".join(map(str, chosen[:8])) + (" …" if len(chosen) > 8 else ""),
        )
    return tuple(sorted(chosen))


def _axes(axes: str | Iterable[str], known: tuple[str, ...], what: str) -> tuple[str, ...]:
    """The axes as a tuple; one may be given by itself."""
    if not isinstance(axes, Iterable):
        raise QueryError(f"`{what}` is not a list of axes.", expected=", ".join(known), got=repr(axes))
    axes = (axes,) if isinstance(axes, str) else tuple(axes)
    for axis in axes:
        if axis not in known:
            raise QueryError(
                f"The axis {axis!r} in `{what}` is unknown.", expected=", ".join(known), got=repr(axis)
            )
    return axes


def _is_target(target: object) -> bool:
    if isinstance(target, tuple):
        return len(target) == 2 and isinstance(target[0], str) and callable(target[1])
    return isinstance(target, str) or callable(target)


def whole(number: object) -> bool:
    """A whole number; True and False are none, so that a mask is not taken for update numbers."""
    return isinstance(number, Integral) and not isinstance(number, bool)
