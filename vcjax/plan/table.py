"""A plan as text."""

from collections.abc import Iterator

from vcjax.model.flops import parameters
from vcjax.plan import links, roofline
from vcjax.plan.advice import Choice, Knob
from vcjax.plan.compiled import Compiled
from vcjax.plan.memory import Memory
from vcjax.plan.roofline import StepTime
from vcjax.plan.setting import Setting
from vcjax.plan.stages import STAGES, hours

GiB = 2**30


def heading(setting: Setting) -> Iterator[str]:
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
    tokens = setting.rows * config.length
    yield (
        f"{'step':<12}{config.objective} on {setting.rows} rows x {config.length} = {tokens:,} "
        f"tokens{parts}; {config.optimizer}, {config.dtype}, attention {setting.attention}, "
        f"remat {config.remat}"
    )


def memory_rows(held: Memory, compiled: Compiled | None) -> Iterator[str]:
    """Bytes per device: counted, and as the compiler says."""

    def row(name: str, counted: int, found: int | None = None, indent: str = "") -> str:
        mine = f"{counted / GiB:10.3f}"
        return f"{indent + name:<40}{mine}" + (f"{found / GiB:12.3f}" if found else "")

    arguments = compiled.arguments if compiled else None
    temporaries = compiled.temporaries if compiled else None
    yield f"{'GiB per device':<40}{'counted':>10}" + (f"{'compiler':>12}" if compiled else "")
    yield row("parameters", held.parameters, indent="  ")
    yield row("optimiser", held.optimizer, indent="  ")
    yield row("batch", held.batch, indent="  ")
    yield row("given to the step", held.arguments, arguments)
    yield row("gradients", held.gradients, indent="  ")
    yield row("activations kept for the backward pass", held.activations, indent="  ")
    yield row("one layer, at work", held.layer, indent="  ")
    yield row("or logits of a chunk, with the head", held.logits, indent="  ")
    if held.update:
        yield row("or a part of the state, fetched", held.update, indent="  ")
    yield row("temporary", held.temporaries, temporaries)
    if held.beside:
        yield row("models beside it", held.beside)
    total = compiled.needed + held.beside if compiled else None
    yield row("needed", held.total, total)


def verdict(needed: int, limit: int, knobs: list[Knob]) -> Iterator[str]:
    """Whether it fits, by how much, and what to do where it doesn't."""
    spare = (limit - needed) / GiB
    if spare >= 0:
        yield f"fits: {spare:.2f} GiB of {limit / GiB:.2f} to spare"
        return
    yield f"doesn't fit: {-spare:.2f} GiB more than the {limit / GiB:.2f} that a device has"
    for knob in knobs:
        end = "fits" if knob.fits else "still doesn't fit; take more devices"
        yield f"  {knob.flags}: about {knob.needed / GiB:.2f} GiB, {end}"


def proposal(choice: Choice) -> str:
    """The fastest setting that fits and trains the same."""
    took = f"{choice.time.least:.2f} to {choice.time.most:.2f} s a step"
    if not choice.flags:
        return f"fastest that fits, over remat, microbatches, offload and mesh: this one, {took}"
    return f"fastest that fits: {choice.flags}: about {choice.needed / GiB:.2f} GiB, {took}"


def time_rows(setting: Setting, took: StepTime) -> Iterator[str]:
    """The roofline, and what follows from it for the paper's stages."""
    hardware, devices = setting.topology.hardware, setting.topology.devices
    assert hardware is not None
    tokens = setting.rows * setting.config.length
    peak = devices * hardware.flops

    def span(value: str, low: float, high: float) -> str:
        return f"{value.format(low)} to {value.format(high)}"

    yield (f"{'FLOPs':<12}{took.useful:.3g} a step; with what is computed again {took.done:.3g}")
    yield (
        f"{'seconds':<12}products {took.products:.3f}, memory {took.memory:.3f}, "
        f"links {took.links:.3f}" + (f", host {took.host:.3f}" if took.host else "")
    )
    yield f"{'step':<12}{span('{:.2f}', took.least, took.most)} s, all at once to one by one"
    share = [100 * took.useful / peak / seconds for seconds in (took.most, took.least)]
    rate = [tokens / seconds for seconds in (took.most, took.least)]
    speed = span("{:,.0f}", *rate)
    yield f"{'estimated':<12}{span('{:.0f}', *share)} % of the peak, {speed} tokens/s"
    steps = setting.config.steps
    whole = [seconds * steps / 3600 for seconds in (took.least, took.most)]
    yield f"{'this run':<12}{span('{:.2f}', *whole)} h for {steps:,} steps"
    for stage in STAGES:
        time = span("{:.2f}", hours(stage, rate[1]), hours(stage, rate[0]))
        yield f"{stage.name:<12}{time} h for {stage.size}, {stage.tokens / 1e9:.2f} G tokens"


def assumptions(setting: Setting) -> Iterator[str]:
    """What the estimate of the time rests on."""
    hardware, topology = setting.topology.hardware, setting.topology
    assert hardware is not None
    links_rate = f"links {hardware.interconnect / 1e9:.0f} GB/s into a device"
    if topology.platform == "tpu":
        links_rate += ", all sides rings" if topology.torus else ", half of it without rings"
    elif topology.devices > hardware.node:
        links_rate += f", {hardware.network / 1e9:.0f} from beyond its {hardware.node}"
    yield (
        f"peaks: {hardware.flops / 1e12:.0f} TFLOP/s in bfloat16, memory "
        f"{hardware.bandwidth / 1e9:.0f} GB/s, {links_rate}"
    )
    yield (
        f"assumed: {roofline.PRODUCTS:.0%} of the peak in products, {roofline.MEMORY:.0%} in "
        f"memory, {links.LINKS:.0%} in links, {roofline.HOST_RATE / 1e9:.0f} GB/s from and to the "
        "host; rows full of tokens; nothing waits for data"
    )
    made = ", ".join(f"{stage.name} {stage.assumed}" for stage in STAGES)
    yield f"assumed of the data, one epoch each: {made}"
