"""Every random draw comes from a seed derived from named parts, never from a global state."""

import hashlib


def derive_seed(*parts: object) -> int:
    """Derives a seed in [0, 2**31) from `parts`, e.g. (run seed, record id, attempt).

    The parts are joined by an unprintable separator and hashed (SHA-256), so the seed does not
    depend on Python's hash randomisation, on the order of other draws or on the platform.
    """
    text = "\x1f".join(str(part) for part in parts)
    # 31 bits, which NumPy, JAX and Grain all take, signed or not.
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFFFFFF
