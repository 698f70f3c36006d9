"""FLOPs of one ONNX operator, given its shapes.

Conventions, so that the figures can be counted by hand: a multiplication and an addition are one FLOP each (a
matrix product of (m, k) and (k, n) is 2mkn); an element-wise operator is one FLOP per output element,
whatever its function (exp and tanh included); a reduction is one per input element; moving, choosing and
looking up are free. Arithmetic on integers (shapes, codes) is free as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import onnx

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Op:
    """A node with the shapes of its inputs and outputs; the shape of an absent optional input is None."""

    node: onnx.NodeProto
    inputs: Sequence[Shape | None]
    outputs: Sequence[Shape | None]

    def shape_in(self, at: int) -> Shape:
        """Shape of the input at that place, which must be there."""
        shape = self.inputs[at]
        assert shape is not None
        return shape

    @property
    def out(self) -> Shape:
        """Shape of the first output that is used."""
        return next(shape for shape in self.outputs if shape is not None)

    def has(self, at: int) -> bool:
        """Whether the optional input at that place is given."""
        return at < len(self.inputs) and self.inputs[at] is not None

    def attribute(self, name: str, default: object) -> object:
        """Value of an attribute."""
        for attribute in self.node.attribute:
            if attribute.name == name:
                return onnx.helper.get_attribute_value(attribute)
        return default


def _free(_: Op) -> int:
    return 0


def _per_output(times: int) -> Callable[[Op], int]:
    return lambda op: times * prod(op.out)


def _per_input(op: Op) -> int:
    return prod(op.shape_in(0))


def _variadic(op: Op) -> int:
    return max(0, len(op.inputs) - 1) * prod(op.out)


def _matmul(op: Op) -> int:
    return 2 * prod(op.out) * op.shape_in(0)[-1]


def _gemm(op: Op) -> int:
    left = op.shape_in(0)
    inner = left[0] if op.attribute("transA", 0) else left[1]
    return prod(op.out) * (2 * inner + int(op.has(2)))


def _conv(op: Op) -> int:
    kernel = op.shape_in(1)  # (out channels, in channels / group, *kernel)
    return prod(op.out) * (2 * prod(kernel[1:]) + int(op.has(2)))


def _conv_transpose(op: Op) -> int:
    kernel = op.shape_in(1)  # (in channels, out channels / group, *kernel)
    return 2 * prod(op.shape_in(0)) * prod(kernel[1:]) + prod(op.out) * int(op.has(2))


def _pool(op: Op) -> int:
    kernel = op.attribute("kernel_shape", [1])
    assert isinstance(kernel, Sequence)
    return prod(op.out) * prod(int(k) for k in kernel)


def _recurrent(gates: int, pointwise: int) -> Callable[[Op], int]:
    """`gates` products with the input and with the state, and `pointwise` FLOPs per hidden unit and step."""

    def cost(op: Op) -> int:
        steps, batch, width = op.shape_in(0) if not op.attribute("layout", 0) else _time_first(op.shape_in(0))
        directions, _, hidden = op.shape_in(2)
        biases = 2 * gates if op.has(3) else 0
        per_unit = 2 * gates * (width + hidden) + gates + biases + pointwise
        return steps * batch * directions * hidden * per_unit

    return cost


def _time_first(shape: Shape) -> Shape:
    return shape[1], shape[0], shape[2]


def _einsum(op: Op) -> int:
    """Operands times the product of all label sizes: one multiplication per further operand, one addition."""
    equation = op.attribute("equation", b"")
    assert isinstance(equation, bytes)
    operands = equation.decode().replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for labels, shape in zip(operands, op.inputs, strict=True):
        assert shape is not None
        for label, size in zip(_spelled(labels, len(shape)), shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
    return len(operands) * prod(sizes.values())


def _spelled(labels: str, rank: int) -> list[str]:
    """The labels of an operand, with `...` spelled out from the right as digits."""
    if "..." not in labels:
        return list(labels)
    before, after = labels.split("...")
    hidden = rank - len(before) - len(after)
    return [*before, *(str(hidden - at) for at in range(hidden)), *after]


_FREE = """
    Cast CastLike Compress Concat Constant ConstantOfShape DepthToSpace Dropout Expand EyeLike Flatten Gather
    GatherElements GatherND Identity NonZero OneHot Pad Range Reshape ReverseSequence ScatterElements
    ScatterND Shape Size Slice SpaceToDepth Split Squeeze Tile TopK Transpose Trilu Unique Unsqueeze Where
"""
_ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift Ceil Celu Clip Cos Cosh CumSum Div Elu Equal Erf Exp
    Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Mish
    Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub
    Swish Tan Tanh ThresholdedRelu Xor
"""
_REDUCTIONS = """
    ArgMax ArgMin GlobalAveragePool GlobalMaxPool ReduceL1 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
"""

OP_COSTS: dict[str, Callable[[Op], int]] = {
    **dict.fromkeys(_FREE.split(), _free),
    **dict.fromkeys(_ELEMENTWISE.split(), _per_output(1)),
    **dict.fromkeys(_REDUCTIONS.split(), _per_input),
    **dict.fromkeys(["ReduceL2", "ReduceSumSquare", "ReduceLogSum"], lambda op: 2 * _per_input(op)),
    "ReduceLogSumExp": lambda op: 2 * _per_input(op),
    **dict.fromkeys(["Max", "Min", "Sum", "Mean"], _variadic),
    **dict.fromkeys(["MatMul", "MatMulInteger"], _matmul),
    **dict.fromkeys(["AveragePool", "MaxPool", "LpPool"], _pool),
    "Gemm": _gemm,
    "Einsum": _einsum,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GRU": _recurrent(gates=3, pointwise=8),  # 3 activations, r * h, and (1 - z) * n + z * h
    "LSTM": _recurrent(gates=4, pointwise=9),  # 4 activations, f * c + i * g, o * tanh(c)
    "RNN": _recurrent(gates=1, pointwise=1),
    "Softmax": _per_output(5),  # max, subtract, exp, sum, divide
    "LogSoftmax": _per_output(6),
    "BatchNormalization": _per_output(4),
    **dict.fromkeys(["LayerNormalization", "InstanceNormalization", "GroupNormalization"], _per_output(8)),
    "LpNormalization": _per_output(3),
    "RMSNormalization": _per_output(5),
    "DequantizeLinear": _per_output(2),
    "QuantizeLinear": _per_output(2),
}
"""FLOPs by operator type. An operator that is not here is refused, never guessed."""
