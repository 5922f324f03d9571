#!/usr/bin/env python3
"""What nvcc made of each CUDA kernel: registers, local memory, occupancy, widest accesses, tensor-core instructions.

No GPU is needed: all of it stands in the objects, or in the cubins (target graft_cubins), of a build with the preset `cuda`.
With --bars, kernels that miss a bar are listed and the exit status is 1. Rules of the bars file are applied in order: `kernels`
is a regular expression searched in the name, and of two rules that name one measure the later holds. A rule that loosens an
earlier one must say `why`, and must be needed by some kernel; a rule that matches no kernel is an error."""
import argparse
import collections
import concurrent.futures
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = ROOT / "build/cuda-tools/nvidia/cu13/bin"  # where `./dev cuda --bars` puts cuobjdump if there is none
THREADS_OF_SM, BLOCKS_OF_SM, REGISTERS_OF_SM = 2048, 32, 65536
SHARED_OF_SM = {"sm_80": 164 << 10, "sm_90": 228 << 10, "sm_100": 228 << 10}
RESERVED_SHARED = 1 << 10  # of every block, by the driver; contained in what cuobjdump says of kernels with shared memory

# Measure -> whether a kernel with `value` is within `bar`, and how the bar is written.
AT_MOST, AT_LEAST = (lambda value, bar: value <= bar, "<="), (lambda value, bar: value >= bar, ">=")
BARS = {
    "registers": AT_MOST,
    "stack": AT_MOST,          # bytes of a thread
    "local": AT_MOST,          # instructions that read or write local memory: spills, indexed arrays
    "shared": AT_MOST,         # bytes of a block
    "occupancy": AT_LEAST,     # of the threads that a multiprocessor can hold, in [0, 1]
    "load_bytes": AT_LEAST,    # the widest read of global memory
    "store_bytes": AT_LEAST,
    "tensor_core": AT_LEAST,   # instructions
}
LOAD, STORE, LOCAL = re.compile(r"LDG|LD\.|LDGSTS"), re.compile(r"STG|ST\."), re.compile(r"LDL|STL")
TENSOR_CORE = re.compile(r"[HID]MMA|HGMMA|UTC\w*MMA")
INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:\{\s*)?(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)")


def occupancy(arch, registers, shared, threads):
    """Of the threads that a multiprocessor can hold, those of blocks that fit at once (CUDA Occupancy Calculator)."""
    warps = -(-threads // 32)
    registers_of_warp = -(-registers * 32 // 256) * 256
    blocks = min(BLOCKS_OF_SM, THREADS_OF_SM // (warps * 32), REGISTERS_OF_SM // registers_of_warp // warps,
                 SHARED_OF_SM[arch] // max(-(-shared // 128) * 128, RESERVED_SHARED))
    return blocks * warps * 32 / THREADS_OF_SM


def width(instruction):
    """Bytes per thread of an access."""
    parts = instruction.split(".")
    for bits in (256, 128, 64):
        if str(bits) in parts:
            return bits // 8
    return 1 if {"U8", "S8"} & set(parts) else 2 if {"U16", "S16"} & set(parts) else 4


def find_cuobjdump():
    for folder in (TOOLS, pathlib.Path("/usr/local/cuda/bin")):
        if (folder / "cuobjdump").is_file():
            return str(folder / "cuobjdump")
    return shutil.which("cuobjdump")


def demangle(names):
    if not shutil.which("c++filt"):
        sys.exit("kernel_report: needs c++filt (of binutils)")
    text = subprocess.run(["c++filt", "-p"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    short = (re.sub(r"(graft|v1|\(anonymous namespace\)|cuda)::", "", name) for name in text.split("\n"))
    return dict(zip(names, short))


def kernels_of(cuobjdump, file):
    """A dict per kernel and architecture in an object, from three listings of cuobjdump."""
    def listing(what):
        with tempfile.TemporaryFile("w+") as complaints:  # of sections that are empty, unless it fails
            with subprocess.Popen([cuobjdump, what, str(file)], stdout=subprocess.PIPE, stderr=complaints, text=True,
                                  errors="replace") as run:
                yield from run.stdout
            if run.returncode:
                complaints.seek(0)
                sys.exit(f"{complaints.read()}kernel_report: {cuobjdump} {what} {file} ended with {run.returncode}")

    found, arch, name, limits_threads = {}, None, None, False
    # First, because of a cubin only this listing says the architecture.
    counts, count = collections.defaultdict(collections.Counter), None
    for line in listing("-sass"):
        if match := INSTRUCTION.match(line):
            if count is not None and "@!PT" not in line:
                count[match[1]] += 1
        elif match := re.match(r"\s*Function : (\S+)", line):
            count = counts[arch, match[1]]
        elif match := re.match(r"\s*code for (sm_\w+)", line):
            arch = match[1]
    for line in listing("-res-usage"):
        if line.startswith("arch ="):
            arch = line.split()[2]
        elif match := re.match(r"\s*Function (\S+):", line):
            name = match[1]
        elif "REG:" in line and name:
            use = dict(re.findall(r"(\w+)(?:\[\d+\])?:(\d+)", line))
            found[arch, name] = {"mangled": name, "arch": arch, "file": file.name, "registers": int(use["REG"]),
                                 "stack": int(use["STACK"]) + int(use["LOCAL"]), "shared": int(use["SHARED"]), "threads": 1024}
    for line in listing("-elf"):
        if line.startswith("arch ="):
            arch = line.split()[2]
        elif line.startswith(".nv.info."):
            name = line.split()[0][len(".nv.info."):]
        elif "Attribute:" in line:
            limits_threads = "EIATTR_MAX_THREADS" in line
        elif "Value:" in line and limits_threads and (arch, name) in found:
            found[arch, name]["threads"] = math.prod(int(x, 16) for x in line.split()[1:4])
    for key, kernel in found.items():
        yield {**kernel, **from_instructions(counts[key])}


def from_instructions(count):
    def widest(pattern):
        return max((width(i) for i in count if pattern.match(i)), default=0)

    def number(pattern):
        return sum(n for i, n in count.items() if pattern.match(i))
    return {"load_bytes": widest(LOAD), "store_bytes": widest(STORE), "local": number(LOCAL), "tensor_core": number(TENSOR_CORE),
            "instructions": sum(count.values())}


def report(cuobjdump, files):
    kernels = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:  # the work is cuobjdump's
        for i, of_file in enumerate(pool.map(lambda file: list(kernels_of(cuobjdump, file)), files)):
            kernels += of_file
            if sys.stderr.isatty():
                print(f"\r\033[K{i + 1}/{len(files)} {files[i].name}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    names = demangle([k["mangled"] for k in kernels])
    for k in kernels:
        k["kernel"] = names[k["mangled"]]
        k["occupancy"] = round(occupancy(k["arch"], k["registers"], k["shared"], k["threads"]), 3)
    return [k for k in kernels if k["instructions"]]  # device functions without code of their own are none


def hold_to(bars, kernels):
    """What is wrong, as lines of text."""
    wrong, architectures = [], {k["arch"] for k in kernels}
    own = [{} for _ in kernels]  # per kernel: measure -> (bar, rule)
    for rule in bars:
        unknown = set(rule) - set(BARS) - {"kernels", "arch", "why"}
        if unknown or "kernels" not in rule:
            wrong.append(f"rule {json.dumps(rule)}: {'needs kernels' if not unknown else 'unknown: ' + ', '.join(sorted(unknown))}")
            continue
        if rule.get("arch") and rule["arch"] not in architectures:
            continue
        matched = [i for i, k in enumerate(kernels)
                   if re.search(rule["kernels"], k["kernel"]) and rule.get("arch") in (None, k["arch"])]
        if not matched:
            wrong.append(f"rule \"{rule['kernels']}\" matches no kernel")
        for measure in set(rule) & set(BARS):
            within, _ = BARS[measure]
            earlier = [(i, own[i][measure]) for i in matched if measure in own[i]]
            looser = [(i, bar) for i, bar in earlier if within(bar, rule[measure]) and bar != rule[measure]]
            if looser and "why" not in rule:
                wrong.append(f"rule \"{rule['kernels']}\" loosens {measure} from {looser[0][1]} to {rule[measure]} without a why")
            if looser and all(within(kernels[i][measure], bar) for i, bar in looser):
                wrong.append(f"rule \"{rule['kernels']}\": its exception for {measure} is not needed any more")
            for i in matched:
                own[i][measure] = rule[measure]
    for kernel, rules in zip(kernels, own):
        for measure, bar in rules.items():
            within, sign = BARS[measure]
            if not within(kernel[measure], bar):
                wrong.append(f"{kernel['arch']} {kernel['kernel']}: {measure} {kernel[measure]}, must be {sign} {bar}")
    return wrong


def table(kernels, each):
    """A line per template (the extremes of its instances), or per kernel."""
    groups = collections.defaultdict(list)
    for k in kernels:
        groups[k["arch"], k["kernel"] if each else re.split("<", k["kernel"])[0]].append(k)
    yield ("kernel", "arch", "n", "registers", "stack", "shared", "threads", "occupancy", "load", "store", "tensor core", "local")
    for (arch, name), of in sorted(groups.items()):
        def span(measure, of=of):
            low, high = min(k[measure] for k in of), max(k[measure] for k in of)
            return str(low) if low == high else f"{low}..{high}"
        yield (name, arch, str(len(of)), *map(span, ("registers", "stack", "shared", "threads", "occupancy", "load_bytes",
                                                     "store_bytes", "tensor_core", "local")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("objects", nargs="+", type=pathlib.Path, metavar="OBJECT",
                        help="objects of .cu files, cubins, or folders of them")
    parser.add_argument("--bars", type=pathlib.Path, metavar="FILE", help="hold the kernels to this file (kernels/cuda/bars.json)")
    parser.add_argument("--each", action="store_true", help="a line per kernel, not per template")
    parser.add_argument("--json", action="store_true", help="all that is known of every kernel, as JSON")
    parser.add_argument("--cuobjdump", metavar="PATH", default=find_cuobjdump(),
                        help="of the CUDA toolkit, or of the PyPI packages nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm")
    args = parser.parse_args()
    if not args.cuobjdump:
        sys.exit("kernel_report: there is no cuobjdump; try: python3 -m pip install --target build/cuda-tools "
                 "nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm")
    files = sorted(f for o in args.objects for f in ([*o.rglob("*.cu.o"), *o.rglob("*.cubin")] if o.is_dir() else [o]))
    kernels = report(args.cuobjdump, files)
    if not kernels:
        sys.exit(f"kernel_report: no kernels in {', '.join(map(str, args.objects))}")
    if args.json:
        json.dump(kernels, sys.stdout, indent=1)
        print()
    elif not args.bars or args.each:
        rows = list(table(kernels, args.each))
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            print("  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip())
    if args.bars:
        wrong = hold_to(json.loads(args.bars.read_text())["rules"], kernels)
        print("\n".join(wrong + [f"{len(kernels)} kernels, {len(wrong)} misses"]), file=sys.stderr if args.json else sys.stdout)
        sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
