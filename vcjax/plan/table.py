"""A plan as text, and what follows from it for the paper's three stages.

The sizes of the stages' data are the paper's (arXiv 2601.13137); how many tokens they are is not
stated there, nor is the number of epochs: those below are assumptions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vcjax.model.flops import parameters
from vcjax.plan.advice import Choice, Knob
from vcjax.plan.compiled import Compiled
from vcjax.plan.memory import Memory
from vcjax.plan.plan import Plan
from vcjax.plan.setting import Setting
from vcjax.plan.time import HOST_RATE, LINKS, MATMULS, MEMORY, StepTime
from vcjax.plan.topology import Topology, can_compile

GiB = 2**30
BYTES_PER_TOKEN = 4.0
"""Bytes of UTF-8 text a token, Chinese and English, in Llama 3's vocabulary."""


@dataclass(frozen=True)
class Stage:
    """A stage of the paper: `size` is what the paper states, `tokens` what is made of it."""

    name: str
    size: str
    assumed: str
    tokens: float


STAGES = (
    Stage("cpt", "33.7 GB of text", f"{BYTES_PER_TOKEN:g} bytes a token", 33.7e9 / BYTES_PER_TOKEN),
    Stage("sft", "940 k pairs", "400 tokens a pair", 940e3 * 400),
    Stage("adversarial", "64 k pairs", "600 tokens a pair", 64e3 * 600),
)


def lines(plan: Plan) -> Iterator[str]:
    """The plan as text, line by line."""
    setting, compiled = plan.setting, plan.compiled
    yield from _heading(setting)
    if plan.asked != setting.config:
        yield (
            f"{'batch':<12}config.batch_size {plan.asked.batch_size} can't be shared out among "
            f"these devices, and train would refuse it; planned with {setting.config.batch_size}"
        )
    yield ""
    yield from _memory_rows(plan.memory, compiled)
    if compiled is None:
        yield "counted from shapes: what is temporary may be less where the compiler frees it early"
        yield _why(setting.topology)
    elif compiled.fits:
        yield f"compiled: the real step, for {setting.topology.name}, in {compiled.seconds:.0f} s"
    else:
        yield f"the compiler refuses the step: {compiled.message}"
    yield from _verdict(plan.needed, plan.limit, plan.knobs)
    if plan.fastest is not None:
        yield _proposal(plan.fastest)
    yield ""
    if plan.time is None:
        yield "time: no peaks are known of a CPU; launch.bench measures this one"
        return
    yield from _time_rows(setting, plan.time)
    yield from _assumptions(setting)


def _why(topology: Topology) -> str:
    """Why a step isn't compiled, and what would let it be."""
    if topology.platform == "gpu":
        return "not compiled: that needs the GPU itself"
    if not can_compile(topology):
        return "not compiled: pip install 'vcjax[tpu]' has the compiler"
    return "not compiled: --nocompile"


def _heading(setting: Setting) -> Iterator[str]:
    """What is planned, and on what."""
    config, model, mesh = setting.config, setting.model, setting.mesh.shape
    adapters = config.adapters
    trained = parameters(model, adapters)
    yield f"{'topology':<12}{setting.topology.name}: {setting.topology.text}"
    what = f"LoRA of rank {adapters.rank} on {adapters.targets}" if adapters else "all trained"
    if adapters:
        what += f", {trained / 1e6:.1f} M trained"
        what += f", the base in {config.lora.base}" if config.lora.base else ""
    yield f"{'model':<12}{config.model}: {parameters(model) / 1e9:.2f} B parameters, {what}"
    yield f"{'mesh':<12}" + " x ".join(f"{axis} {size}" for axis, size in mesh.items())
    parts = f", in {config.microbatches} microbatches" if config.microbatches > 1 else ""
    tokens = config.rows * config.length
    yield (
        f"{'step':<12}{config.objective} on {config.rows} rows x {config.length} = {tokens:,} "
        f"tokens{parts}; {config.optimizer}, {config.dtype}, attention {setting.attention}, "
        f"remat {config.remat}"
    )


def _memory_rows(counted: Memory, compiled: Compiled | None) -> Iterator[str]:
    """Bytes per device: counted, and by the compiler's account."""

    def row(name: str, ours: int, found: int | None = None, indent: str = "") -> str:
        mine = f"{ours / GiB:10.3f}"
        return f"{indent + name:<40}{mine}" + (f"{found / GiB:12.3f}" if found else "")

    arguments = compiled.arguments if compiled else None
    temporaries = compiled.temporaries if compiled else None
    yield f"{'GiB per device':<40}{'counted':>10}" + (f"{'compiler':>12}" if compiled else "")
    yield row("parameters", counted.parameters, indent="  ")
    yield row("optimiser", counted.optimizer, indent="  ")
    yield row("batch", counted.batch, indent="  ")
    yield row("given to the step", counted.arguments, arguments)
    yield row("gradients", counted.gradients, indent="  ")
    yield row("activations kept for the backward pass", counted.activations, indent="  ")
    yield row("one layer, at work", counted.layer, indent="  ")
    yield row("or logits of a chunk, with the head", counted.logits, indent="  ")
    if counted.update:
        yield row("or a part of the state, fetched", counted.update, indent="  ")
    yield row("temporary", counted.temporaries, temporaries)
    if counted.beside:
        yield row("models beside it", counted.beside)
    total = compiled.needed + counted.beside if compiled else None
    yield row("needed", counted.total, total)


def _verdict(needed: int, limit: int, knobs: list[Knob]) -> Iterator[str]:
    """Whether it fits, by how much, and what to do where it doesn't."""
    spare = (limit - needed) / GiB
    if spare >= 0:
        yield f"fits: {spare:.2f} GiB of {limit / GiB:.2f} to spare"
        return
    yield f"doesn't fit: {-spare:.2f} GiB more than the {limit / GiB:.2f} that a device has"
    for knob in knobs:
        end = "fits" if knob.fits else "still doesn't fit; take more devices"
        yield f"  {knob.flags}: about {knob.needed / GiB:.2f} GiB, {end}"


def _proposal(choice: Choice) -> str:
    """The fastest setting that fits and trains the same."""
    took = f"{choice.time.least:.2f} to {choice.time.most:.2f} s a step"
    if not choice.flags:
        return f"fastest that fits, over remat, microbatches, offload and mesh: this one, {took}"
    return f"fastest that fits: {choice.flags}: about {choice.needed / GiB:.2f} GiB, {took}"


def _time_rows(setting: Setting, took: StepTime) -> Iterator[str]:
    """The roofline, and what follows from it for the paper's stages."""
    hardware, devices = setting.topology.hardware, setting.topology.devices
    assert hardware is not None
    tokens = setting.config.rows * setting.config.length
    peak = devices * hardware.flops

    def span(value: str, low: float, high: float) -> str:
        return f"{value.format(low)} to {value.format(high)}"

    yield (f"{'FLOPs':<12}{took.useful:.3g} a step; with what is computed again {took.done:.3g}")
    yield (
        f"{'seconds':<12}matmuls {took.matmuls:.3f}, memory {took.memory:.3f}, "
        f"links {took.links:.3f}" + (f", host {took.host:.3f}" if took.host else "")
    )
    yield f"{'step':<12}{span('{:.2f}', took.least, took.most)} s, all at once to one by one"
    # Useful operations alone (MFU): what remat computes again is no progress.
    share = [100 * took.useful / peak / seconds for seconds in (took.most, took.least)]
    rate = [tokens / seconds for seconds in (took.most, took.least)]
    speed = span("{:,.0f}", *rate)
    yield f"{'estimated':<12}{span('{:.0f}', *share)} % of the peak, {speed} tokens/s"
    steps = setting.config.steps
    whole = [seconds * steps / 3600 for seconds in (took.least, took.most)]
    yield f"{'this run':<12}{span('{:.2f}', *whole)} h for {steps:,} steps"
    for stage in STAGES:
        time = span("{:.2f}", _hours(stage, rate[1]), _hours(stage, rate[0]))
        yield f"{stage.name:<12}{time} h for {stage.size}, {stage.tokens / 1e9:.2f} G tokens"


def _assumptions(setting: Setting) -> Iterator[str]:
    """What the estimate of the time rests on."""
    hardware, topology = setting.topology.hardware, setting.topology
    assert hardware is not None
    links_rate = f"links {hardware.interconnect / 1e9:.0f} GB/s into a device"
    if topology.platform == "tpu":
        links_rate += ", all sides rings" if topology.torus else ", half of it without rings"
    elif topology.devices > hardware.node:
        links_rate += f", {hardware.network / 1e9:.0f} from beyond its {hardware.node}"
    yield (
        f"peaks: {hardware.flops / 1e12:.0f} TFLOP/s in "
        f"{'bfloat16' if hardware.bfloat16 else 'float32, which also computes bfloat16'}, memory "
        f"{hardware.bandwidth / 1e9:.0f} GB/s, {links_rate}"
    )
    yield (
        f"assumed: {MATMULS:.0%} of the peak in matmuls, {MEMORY:.0%} in memory, {LINKS:.0%} in "
        f"links, {HOST_RATE / 1e9:.0f} GB/s from and to the host; rows full of tokens; nothing "
        "waits for data"
    )
    made = ", ".join(f"{stage.name} {stage.assumed}" for stage in STAGES)
    yield f"assumed of the data, one epoch each: {made}"


def _hours(stage: Stage, tokens_per_second: float) -> float:
    """Hours of one epoch, in full rows."""
    return stage.tokens / tokens_per_second / 3600
