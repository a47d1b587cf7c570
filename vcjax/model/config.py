"""The static shape of a Llama-family decoder, read from and written as Hugging Face's
`config.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vcjax.core.errors import UserError, suggest
from vcjax.model.rope import FREQUENCIES, RopeConfig

MODEL_TYPES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}


@dataclass(frozen=True)
class LlamaConfig:
    """What distinguishes one member of the family from another; sizes are counts.

    `windows` has, for each layer, the number of keys that a query attends to, itself included, or 0
    for all; it is empty where no layer has a window.
    """

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_position: int
    rms_norm_eps: float
    rope: RopeConfig
    tie_embeddings: bool = False
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    windows: tuple[int, ...] = ()
    bos_ids: tuple[int, ...] = ()
    eos_ids: tuple[int, ...] = ()
    pad_id: int | None = None

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise UserError(
                f"config.json: num_attention_heads {self.num_heads} is not a multiple of "
                f"num_key_value_heads {self.num_kv_heads}"
            )
        if self.head_dim % 2:
            raise UserError(f"config.json: head_dim {self.head_dim} is odd; RoPE needs pairs")

    @classmethod
    def from_hf(cls, raw: Mapping[str, Any]) -> "LlamaConfig":
        """Reads a parsed `config.json`, old (`rope_theta`) or new (`rope_parameters`) layout.

        Raises:
          UserError: an unsupported architecture, rope type, activation or quantisation, or a
            field that is missing or of the wrong type.
        """
        if not isinstance(raw, Mapping):
            raise UserError(f"config.json: must be a JSON object, not {type(raw).__name__}")
        architecture = _architecture(raw)
        for field, accepted in (("hidden_act", ("silu", None)), ("quantization_config", (None,))):
            if raw.get(field) not in accepted:
                raise UserError(f"config.json: {field} {raw[field]!r} is not supported")
        hidden, heads = _integer(raw, "hidden_size"), _integer(raw, "num_attention_heads")
        layers = _integer(raw, "num_hidden_layers")
        bias = bool(raw.get("attention_bias") or False)
        qwen2 = architecture == "Qwen2ForCausalLM"
        max_position = _integer(raw, "max_position_embeddings", 2048)
        if raw.get("head_dim") is None and hidden % heads:
            raise UserError(
                f"config.json: hidden_size {hidden} is not a multiple of num_attention_heads "
                f"{heads} and head_dim is not given"
            )
        return cls(
            architecture=architecture,
            vocab_size=_integer(raw, "vocab_size"),
            hidden_size=hidden,
            intermediate_size=_integer(raw, "intermediate_size"),
            num_layers=layers,
            num_heads=heads,
            # Files from before grouped-query attention don't have the field.
            num_kv_heads=_integer(raw, "num_key_value_heads", heads),
            head_dim=_integer(raw, "head_dim", hidden // heads),
            max_position=max_position,
            rms_norm_eps=_number(raw, "rms_norm_eps", 1e-6),
            rope=_rope(raw, max_position),
            tie_embeddings=bool(raw.get("tie_word_embeddings", False)),
            # Qwen2 has biases on q, k and v and none on o, in its code: no field says so.
            qkv_bias=qwen2 or bias,
            o_bias=bias and not qwen2,
            mlp_bias=bool(raw.get("mlp_bias") or False),
            qk_norm=architecture == "Qwen3ForCausalLM",
            windows=_windows(raw, architecture, layers),
            bos_ids=_ids(raw.get("bos_token_id")),
            eos_ids=_ids(raw.get("eos_token_id")),
            pad_id=raw.get("pad_token_id"),
        )

    def to_hf(self, dtype: str) -> dict[str, Any]:
        """Returns a `config.json` that transformers 4 and 5 both read (old RoPE layout too)."""
        rope: dict[str, Any] = {"rope_type": self.rope.rope_type}
        if self.rope.rope_type != "default":
            rope["factor"] = self.rope.factor
        if self.rope.rope_type == "llama3":
            rope["low_freq_factor"] = self.rope.low_freq_factor
            rope["high_freq_factor"] = self.rope.high_freq_factor
            rope["original_max_position_embeddings"] = self.rope.original_max_position
        raw = {
            "architectures": [self.architecture],
            "model_type": MODEL_TYPES[self.architecture],
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads,
            # Also where it is hidden_size / heads: other readers fall back on that, and it is wrong
            # for models with explicit head sizes, such as Qwen3's.
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": self.max_position,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope.theta,
            "rope_scaling": None if self.rope.rope_type == "default" else rope,
            "rope_parameters": {**rope, "rope_theta": self.rope.theta},
            "tie_word_embeddings": self.tie_embeddings,
            "bos_token_id": _one(self.bos_ids),
            "eos_token_id": _one(self.eos_ids),
            "pad_token_id": self.pad_id,
            "torch_dtype": dtype,
            "dtype": dtype,
        }
        if self.architecture != "Qwen2ForCausalLM":
            raw["attention_bias"] = self.o_bias
        if self.architecture == "LlamaForCausalLM":
            raw["mlp_bias"] = self.mlp_bias
        if self.windows:
            raw["sliding_window"] = max(self.windows)
            if self.architecture != "MistralForCausalLM":  # there every layer has the window
                raw["layer_types"] = [
                    "sliding_attention" if window else "full_attention" for window in self.windows
                ]
                raw["use_sliding_window"] = True
                # For versions that don't know `layer_types`: there the layers without a window
                # come first.
                raw["max_window_layers"] = sum(1 for window in self.windows if not window)
        else:
            raw["sliding_window"] = None
            raw["use_sliding_window"] = False
        return raw


def _architecture(raw: Mapping[str, Any]) -> str:
    names = raw.get("architectures") or [
        name for name, kind in MODEL_TYPES.items() if kind == raw.get("model_type")
    ]
    if not names:
        raise UserError(
            f"config.json: neither `architectures` nor a supported `model_type` "
            f"(found {raw.get('model_type')!r}; supported: {', '.join(MODEL_TYPES.values())})"
        )
    if names[0] not in MODEL_TYPES:
        raise UserError(
            f"config.json: architecture {names[0]!r} is not supported "
            f"(supported: {', '.join(MODEL_TYPES)}){suggest(names[0], MODEL_TYPES)}"
        )
    return names[0]


def _integer(raw: Mapping[str, Any], field: str, default: int | None = None) -> int:
    value = raw.get(field)
    if value is None:
        value = default
    if value is None:
        raise UserError(f"config.json: the field {field!r} is missing")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"config.json: {field} must be a positive integer, not {value!r}")
    return value


def _number(raw: Mapping[str, Any], field: str, default: float) -> float:
    value = raw.get(field)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise UserError(f"config.json: {field} must be a positive number, not {value!r}")
    return float(value)


def _rope(raw: Mapping[str, Any], max_position: int) -> RopeConfig:
    scaling = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(scaling, Mapping) or any(isinstance(v, Mapping) for v in scaling.values()):
        raise UserError("config.json: RoPE parameters per layer type are not supported")
    if raw.get("partial_rotary_factor", scaling.get("partial_rotary_factor", 1.0)) != 1.0:
        raise UserError("config.json: partial_rotary_factor other than 1 is not supported")
    # Older files call it `type`, and have theta outside of the scaling.
    rope_type = scaling.get("rope_type", scaling.get("type", "default"))
    theta = _number(scaling, "rope_theta", _number(raw, "rope_theta", 10_000.0))
    needed = {"default": (), "linear": ("factor",)}.get(
        rope_type, ("factor", "low_freq_factor", "high_freq_factor")
    )
    missing = [field for field in needed if scaling.get(field) is None]
    if missing and rope_type in FREQUENCIES:
        raise UserError(f"config.json: rope_type {rope_type!r} needs the field {missing[0]!r}")
    return RopeConfig(
        rope_type=rope_type,
        theta=theta,
        factor=_number(scaling, "factor", 1.0),
        low_freq_factor=_number(scaling, "low_freq_factor", 1.0),
        high_freq_factor=_number(scaling, "high_freq_factor", 4.0),
        original_max_position=_integer(scaling, "original_max_position_embeddings", max_position),
    )


def _windows(raw: Mapping[str, Any], architecture: str, layers: int) -> tuple[int, ...]:
    """Windows per layer; an absent field has the default that transformers gives it."""
    qwen = architecture.startswith("Qwen")
    if architecture == "LlamaForCausalLM" or (qwen and not raw.get("use_sliding_window", False)):
        return ()
    # An explicit null means no window, an absent field transformers' default of 4096.
    if raw.get("sliding_window", 4096) is None:
        return ()
    window = _integer(raw, "sliding_window", 4096)
    kinds = raw.get("layer_types")
    if kinds is None:
        # Before `layer_types`: Mistral has a window in every layer, Qwen from a layer on.
        first = raw.get("max_window_layers", 28) if qwen else 0
        kinds = ["sliding_attention" if n >= first else "full_attention" for n in range(layers)]
    known = {"sliding_attention": window, "full_attention": 0}
    if len(kinds) != layers or not set(kinds) <= set(known):
        raise UserError(f"config.json: layer_types {kinds!r} is not supported")
    if not qwen and "full_attention" in kinds:  # transformers would ignore the field
        raise UserError("config.json: a Mistral model has one kind of layer in layer_types")
    return tuple(known[kind] for kind in kinds) if "sliding_attention" in kinds else ()


def _ids(value: int | list[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)


def _one(ids: tuple[int, ...]) -> int | list[int] | None:
    return ids[0] if len(ids) == 1 else (list(ids) or None)
