"""Trace a pure tensor function once and drop what it computes twice or on zeros.

The Jacobian-vector products of all groups share the forward pass of the model, and below the parameters of a group every
tangent is zero; transforming the function group by group repeats the first and multiplies by the second. Here the whole
computation is traced to a graph of aten operations (make_fx, functionalized: no in-place operation is left), equal
operations are merged and operations on zeros are folded. Every remaining operation is one that the plain evaluation would
have done with the same operands. Measured on the modulo Transformer, a node of six layers takes about half the time.

A function that reads values (control flow, .item()) or whose shapes depend on values (nonzero, a boolean index) is never
traced, since a trace would freeze what it read; nor is one whose trace does not agree with it on other samples and parameters
as well. Such functions are evaluated as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._guards import TracingContext, tracing
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

from explaind.features.agreement import first_difference

_log = logging.getLogger(__name__)
_aten = torch.ops.aten

_IDENTITY = {_aten.alias.default, _aten.detach.default, _aten.lift_fresh.default}
_ZERO_SOURCE = {
    _aten.zeros.default,
    _aten.zeros_like.default,
    _aten.new_zeros.default,
    _aten._efficientzerotensor.default,
}
# Linear in the first operand: zero in, zero out.
_ZERO_FIRST = {
    _aten.expand.default, _aten.view.default, _aten._unsafe_view.default, _aten.permute.default, _aten.t.default,
    _aten.transpose.int, _aten.unsqueeze.default, _aten.squeeze.dim, _aten.squeeze.default, _aten.select.int,
    _aten.slice.Tensor, _aten.clone.default, _aten.neg.default, _aten.sum.dim_IntList, _aten.sum.default,
    _aten.div.Tensor, _aten.threshold_backward.default, _aten.embedding.default, _aten.reshape.default,
}  # fmt: skip
_READS_VALUES = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}
# These read values too, without being tagged so: lengths of sequences and of segments.
_READS_LENGTHS = (
    "_pack_padded_sequence", "_pad_packed_sequence", "_ctc_loss", "ctc_loss", "_cudnn_ctc_loss", "segment_reduce",
    "_nested_tensor_from_mask",
)  # fmt: skip
_READS_MEMORY = {Tensor.numpy, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr}
_INDEXED = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._unsafe_index.Tensor}
_ZERO_EITHER = {_aten.mul.Tensor, _aten.mm.default, _aten.bmm.default, _aten.mul.Scalar}


def trace(
    function: Callable[..., Any], *arguments: Tensor, others: Sequence[Sequence[Tensor]] = ()
) -> Callable[..., Any]:
    """A function of the same arguments and shapes, with repeated and zero work removed; `function` itself where a trace
    would not be the same function.

    Args:
        function: pure, from tensors to a tensor or a list of tensors.
        arguments: tensors of the shapes and dtypes it will be called with.
        others: more arguments of these shapes and dtypes, with other values, on which the trace must agree too. Those that
            `function` itself refuses are left out.
    """
    try:
        # One for all operations: without it, a mode of its own is made to describe the result of each.
        with _Unreadable(), tracing(TracingContext(FakeTensorMode(allow_fallback_kernels=True))):
            graph_module = make_fx(torch.func.functionalize(function, remove="mutations"))(*arguments)
    except Exception as error:
        _log.info("evaluating without tracing: %s", error)
        return function
    graph = graph_module.graph
    if (reader := _value_reader(graph)) is not None:
        _log.info("evaluating without tracing: the shapes depend on values (%s)", reader.target)
        return function
    _drop_identities(graph)
    _fold_zeros(graph)
    _merge_equal(graph)
    graph.eliminate_dead_code()
    graph_module.recompile()
    agrees = all(_agrees(graph_module, function, given) for given in (arguments, *others))
    return graph_module if agrees else function


class _Unreadable(TorchFunctionMode):
    """Refuses what reads a tensor's memory past torch: while tracing there is none, and what is read is whatever was there."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _READS_MEMORY:
            raise RuntimeError(f"{func.__name__} reads values")
        return func(*args, **(kwargs or {}))


def _value_reader(graph: fx.Graph) -> fx.Node | None:
    """The first operation whose result has a shape, or is a number, that depends on values: a trace would keep the shape or
    the number that it met."""
    for node in graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        if node.target in _INDEXED:
            if any(_is_mask(index) for index in node.args[1]):
                return node
        elif (
            _READS_VALUES & set(node.target.tags)
            or node.target._schema.name.removeprefix("aten::") in _READS_LENGTHS
        ):
            return node
    return None


def _is_mask(index: Any) -> bool:
    value = index.meta.get("val") if isinstance(index, fx.Node) else None
    known = isinstance(value, Tensor) and value.dtype not in (torch.bool, torch.uint8)
    return index is not None and not known


def _agrees(traced: Callable[..., Any], function: Callable[..., Any], arguments: Sequence[Tensor]) -> bool:
    """Does the traced function reproduce the plain one on these arguments, up to rounding?"""
    with torch.no_grad():
        try:
            plain = _leaves(function(*arguments))
        except Exception as error:
            _log.info("not compared on arguments that the function refuses: %s", error)
            return True
        try:
            difference = first_difference(_leaves(traced(*arguments)), plain)
        except (RuntimeError, ValueError, IndexError) as error:
            difference = str(error)
    if difference is not None:
        _log.info("evaluating without tracing, the traced function differs: %s", difference)
    return difference is None


def _leaves(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else list(result)


def _drop_identities(graph: fx.Graph) -> None:
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        converts = node.target is _aten._to_copy.default and not set(node.kwargs) - {
            "dtype",
            "layout",
            "device",
        }
        if node.target in _IDENTITY or (converts and _same(node.args[0], node)):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _fold_zeros(graph: fx.Graph) -> None:
    zero: set[fx.Node] = set()
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        first = node.args[0] if node.args else None
        if (
            node.target in _ZERO_SOURCE
            or (node.target in _ZERO_FIRST and first in zero)
            or (node.target in _ZERO_EITHER and any(a in zero for a in node.args[:2]))
        ):
            zero.add(node)
        elif node.target in (_aten.add.Tensor, _aten.sub.Tensor):
            left, right = node.args[:2]
            if right in zero and _same(left, node):
                node.replace_all_uses_with(left)
            elif left in zero and node.target is _aten.add.Tensor and not node.kwargs and _same(right, node):
                node.replace_all_uses_with(right)


def _same(operand: Any, result: fx.Node) -> bool:
    """Do operand and result have the same shape and dtype, so that one can stand for the other?"""
    if not isinstance(operand, fx.Node):
        return False
    a, b = operand.meta.get("val"), result.meta.get("val")
    return a is not None and b is not None and a.shape == b.shape and a.dtype == b.dtype


def _merge_equal(graph: fx.Graph) -> None:
    seen: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op not in ("call_function", "get_attr"):
            continue
        random = (
            isinstance(node.target, torch._ops.OpOverload)
            and torch.Tag.nondeterministic_seeded in node.target.tags
        )
        if random:
            continue
        key = (node.op, node.target, _key(node.args), _key(node.kwargs))
        if key in seen:
            node.replace_all_uses_with(seen[key])
            graph.erase_node(node)
        else:
            seen[key] = node


def _key(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_key(v) for v in value)
    if isinstance(value, dict):
        return tuple(sorted((k, _key(v)) for k, v in value.items()))
    return value if isinstance(value, fx.Node) else (type(value), str(value))
