"""Compiles the Triton kernels without a GPU and prints facts about the result, one line of JSON per kind of GPU.

To be run in a process of its own, since one that interprets kernels cannot compile them: python compile_kernels.py
CUBIN, which names a file for what is compiled.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from fourierft import kernel, kernel_tokens

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


def compiled(function, constants, capability, warps, **types):
    """types: of the arguments that are not int32. All but those named in `odd` are divisible by 16."""
    names, odd = function.arg_names, types.pop("odd", ())
    signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in names}
    aligned = [i for i, name in enumerate(names) if name not in odd and signature[name] not in ("constexpr", "fp32")]
    places = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(function, signature, places, {(i,): [["tt.divisibility", 16]] for i in aligned})
    return triton.compile(source, GPUTarget("cuda", capability, 32), {"num_warps": warps})


def report(result, cubin):
    """Whether there are instructions of a width in bytes; and what a warp writes side by side, of stores in a row."""
    text, ptx = result.asm["ttgir"], result.asm["ptx"]
    cubin.write_bytes(result.asm["cubin"])
    usage = subprocess.run([CUOBJDUMP, "-res-usage", cubin], capture_output=True, text=True, check=True).stdout
    layouts = dict(re.findall(r"(#blocked\d*) = #ttg.blocked<(.*?)>", text))
    stores = []
    for bits, layout in re.findall(r"tt.store .*tensor<\d+x!tt.ptr<b?f(\d+)>, (#blocked\d*)>", text):
        each, lanes = (re.search(name + r" = \[(\d+)\]", layouts[layout]) for name in ("PerThread", "PerWarp"))
        stores.append(int(each[1]) * int(lanes[1]) * int(bits) // 8)
    return {
        "tensor_cores": "mma" in ptx,
        "shared": result.metadata.shared,
        "spilled": int(re.search(r"STACK:(\d+)", usage)[1]),
        "stores": stores,
        "loads_of_16": "cp.async.cg" in ptx,
        "stores_of_16": bool(re.search(r"st\.global\S*\.v4", ptx)),
        "loads_of_8": bool(re.search(r"ld\.global\S*\.v2\.b32", ptx)),
    }


def all_compiled(capability):
    for dtype, tile, has_base, terms in (("fp32", 64, True, 2), ("bf16", 128, False, 1)):
        types = dict.fromkeys(["table_u", "table_v"], "*fp16") | dict.fromkeys(["result", "base"], "*" + dtype)
        types |= {"a": "*fp32", "largest": "*fp32", "odd": ["n"]}
        constants = {"HAS_BASE": has_base, "TERMS": terms, "TILE": tile, "DEPTH": kernel.DEPTH, "base_stride_q": 1}
        yield compiled(kernel._delta_weight, constants, capability, tile // 16, **types)
    tokens, floats = kernel_tokens, dict.fromkeys(["x", "g", "y", "partial", "factors"], "*fp32")
    types = floats | dict.fromkeys(["u", "v", "source", "starts"], "*i64")
    odd = ["n", "bins", "tokens", "row_x", "row_g"]
    constants = {"TOKENS": tokens.TOKENS, "ENTRIES": tokens.ENTRIES}
    yield compiled(tokens._sampled_product, constants, capability, 8, odd=odd, **types)
    constants = {"TOKENS": tokens.SOME_TOKENS, "BINS": tokens.BINS}
    yield compiled(tokens._change, constants, capability, 4, odd=odd, **types)


if __name__ == "__main__":
    for capability in (80, 90):
        print(json.dumps([report(result, Path(sys.argv[1])) for result in all_compiled(capability)]))
