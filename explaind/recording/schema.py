"""The arrays of a recorded trajectory, as data.

A chunk is `chunk_steps` updates; it is written once, when complete, and committed by one line of the journal.
Row s of a per-step array belongs to update s, which leads from θ_s to θ_{s+1}.

| array               | row s holds                                             |
|---------------------|---------------------------------------------------------|
| parameters          | θ_{s+1}; θ_0 is `initial_parameters`                    |
| second_moment       | v_{s+1}, Adam and AdamW only                            |
| preconditioner      | P_s or Q_s, optimizers of `explaind.optimizers` only    |
| coefficients        | the same, per group: `explaind.optimizers.COEFFICIENTS` |
| trust               | the same, per tensor of θ: T_s, where the rule has one  |
| checksums           | of θ_{s+1}, CRC-32C; with keep="replay" only, in place of the arrays with an axis of D |
| clip_scales         | per tensor of θ, the exact factor of clipping; with keep="replay" only |
| hyperparameters     | per optimizer group, columns `HYPERPARAMETERS`          |
| gradient_norms      | per tensor of θ, its gradient's norm: after backward, and at |
|                     | optimizer.step() (they differ where it was clipped);    |
|                     | −1 where it had none and the optimizer left it alone    |
| rng_state           | one row per chunk: torch's CPU generator at its start   |
| batch_indices       | blocks of sample indices, padded with −1                |
| batch_weights       | the same for weights of samples, where there are any    |
| batch_views         | the same for views of samples, where there are any      |
| generators          | blocks of generator states, before forward passes that drew random numbers |
| clip_entries        | the same for c_s of tensors clipped entry by entry      |

What is small and ragged is in the journal: lengths of the micro-batches, clipping, metrics.
"""

from __future__ import annotations

from explaind.optimizers import COEFFICIENTS, LinearRule
from explaind.recording.layout import Layout
from explaind.store import ArraySpec

KIND = "trajectory"
JOURNAL = "journal.jsonl"
HYPERPARAMETERS = ("lr", "weight_decay", "beta1", "beta2", "eps", "momentum", "dampening")
CUT_BLOCK = 1 << 16  # most entries per block of the factors of clipped gradients
CAPACITY = 64  # chunks an array can hold before it first grows

PER_STEP = (
    "parameters",
    "second_moment",
    "preconditioner",
    "coefficients",
    "trust",
    "hyperparameters",
    "gradient_norms",
    "checksums",
    "clip_scales",
)
RAGGED = ("batch_indices", "batch_weights", "batch_views", "generators", "clip_entries")


def array_specs(
    layout: Layout,
    *,
    groups: int,
    adam: bool,
    chunk_steps: int,
    block: int,
    rng_bytes: int,
    generator_bytes: int,
    rule: LinearRule | None = None,
    replayed: bool = False,
) -> tuple[ArraySpec, ...]:
    """Every growing array of a trajectory.

    Args:
        layout: the D recorded parameters.
        groups: number of optimizer groups.
        adam: whether the optimizer is Adam or AdamW.
        chunk_steps: updates per chunk.
        block: entries per block of the ragged arrays.
        rng_bytes, generator_bytes: size of the state of torch's CPU generator, and of that of the model's device.
        rule: of an optimizer whose equations are recorded.
        replayed: are parameters and preconditioners made again, and not stored?
    """
    real = str(layout.dtype).removeprefix("torch.")
    steps = CAPACITY * chunk_steps

    def per_step(name: str, dtype: str, about: str, **axes: int) -> ArraySpec:
        return ArraySpec(
            name=name,
            dtype=dtype,
            dimensions=("step", *axes),
            shape=(steps, *axes.values()),
            chunks=(chunk_steps, *(max(1, length) for length in axes.values())),
            transpose="parameter" in axes,
            codec="lz4",
            attrs={"description": about},
        )

    def block_of(name: str, dtype: str, about: str, entries: int = block) -> ArraySpec:
        entries = max(1, entries)
        return ArraySpec(
            name,
            dtype,
            ("entry",),
            (CAPACITY * entries,),
            (entries,),
            codec="lz4",
            attrs={"description": about},
        )

    specs = [
        per_step("parameters", real, "θ_{s+1}, after update s", parameter=layout.size),
        per_step(
            "hyperparameters",
            "float64",
            ", ".join(HYPERPARAMETERS),
            group=groups,
            option=len(HYPERPARAMETERS),
        ),
        per_step(
            "gradient_norms",
            "float64",
            "norm of each tensor's gradient after backward, and as the optimizer got it",
            stage=2,
            tensor=len(layout.names),
        ),
        block_of("batch_indices", "int64", "sample indices, chunk by chunk, padded with -1"),
        block_of("batch_weights", "float64", "weights of samples, for micro-batches that have them"),
        block_of("batch_views", "int64", "views of samples, for micro-batches that have them"),
        block_of(
            "clip_entries", real, "factors of gradients clipped entry by entry", min(layout.size, CUT_BLOCK)
        ),
        ArraySpec(
            "rng_state",
            "uint8",
            ("chunk", "byte"),
            (CAPACITY, rng_bytes),
            (1, rng_bytes),
            attrs={"description": "torch's CPU generator before the first update of the chunk"},
        ),
        ArraySpec(
            "generators",
            "uint8",
            ("pass", "byte"),
            (CAPACITY * chunk_steps, generator_bytes),
            (chunk_steps, generator_bytes),
            attrs={"description": "the generator before forward passes that drew random numbers"},
        ),
    ]
    if adam:
        specs.append(per_step("second_moment", real, "v_{s+1}, after update s", parameter=layout.size))
    if rule is not None:
        specs += [
            per_step("preconditioner", real, "P_s or Q_s, the diagonal of update s", parameter=layout.size),
            per_step(
                "coefficients",
                "float64",
                ", ".join(COEFFICIENTS),
                group=groups,
                coefficient=len(COEFFICIENTS),
            ),
        ]
        if rule.trust is not None:
            specs.append(per_step("trust", "float64", "T_s of each tensor", tensor=len(layout.names)))
    if replayed:
        specs = [spec for spec in specs if "parameter" not in spec.dimensions]
        specs += [
            per_step("checksums", "int64", "CRC-32C of θ_{s+1}, after update s"),
            per_step("clip_scales", "float64", "factor of each tensor's gradient", tensor=len(layout.names)),
        ]
    return tuple(specs)


def static_spec(name: str, dtype: str, size: int) -> ArraySpec:
    """A vector that is written once, when the recording begins."""
    return ArraySpec(name, dtype, (f"{name}_entry",), (size,), (max(1, size),))
