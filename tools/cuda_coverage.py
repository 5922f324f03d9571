#!/usr/bin/env python3
"""Which CUDA kernels of the library did the tests launch?

    ./dev cuda --coverage          builds what this needs, runs the tests of device cuda, and says what none of them launched

The kernels are the functions that the sources declare __global__, in every instantiation that stands in the objects of a build with
the preset cuda-emulated. What was launched is written by the emulated device. Exit status 1 where a function was launched in no
instantiation at all; instantiations that were not are listed by --json."""
import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
GLOBAL = re.compile(r"__global__\s+(?:__launch_bounds__\([^)]*\)\s*)?void\s+(\w+)")


def kernel_names():
    names = {}
    for path in sorted((ROOT / "kernels").rglob("*")):
        if path.suffix in (".cu", ".h", ".inc") and "emulation" not in path.parts:
            for name in GLOBAL.findall(path.read_text()):
                names[name] = path.relative_to(ROOT)
    return names


def symbols(path):
    """Mangled name -> address, of the functions in an object or a program."""
    found = {}
    for line in subprocess.run(["nm", str(path)], capture_output=True, text=True, check=True).stdout.splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[1] in "tTwWV":
            found[parts[2]] = int(parts[0], 16)
    return found


def demangled(names):
    names = sorted(names)
    text = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return dict(zip(names, text.splitlines()))


def compiled(build, names):
    """Mangled -> demangled, of every instantiation of a kernel in the library's objects."""
    mangled = set()
    for path in sorted((build / "CMakeFiles/graft_cuda.dir/kernels").rglob("*.cu.o")):
        mangled |= symbols(path).keys()
    pattern = re.compile(r"(?:^|::|\s)(" + "|".join(sorted(names)) + r")[<(]")
    own = {}
    for name, text in demangled(mangled).items():
        text = text.replace("graft::v1::", "").replace("(anonymous namespace)::", "").removeprefix("void ")
        outside = re.sub(r"\(.*", "(", text)  # what is called, not what it is given
        if "lambda" not in text and ".cold" not in text and pattern.search(re.split(r"<", outside, maxsplit=1)[0] + "<"):
            own[name] = text
    return own


def launched(record):
    programs = collections.defaultdict(set)
    for line in record.read_text().splitlines():
        program, offset = line.rsplit(" ", 1)
        programs[program].add(int(offset, 16))
    names = set()
    for program, offsets in programs.items():
        names |= {name for name, at in symbols(program).items() if at in offsets}
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog=__doc__.split("\n\n", 1)[1],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/cuda-emulated", help="a build of the preset cuda-emulated")
    parser.add_argument("--record", type=pathlib.Path, help="what an earlier run wrote, by GRAFT_EMULATE_LAUNCHED=FILE; no test runs then")
    parser.add_argument("--json", type=pathlib.Path, metavar="OUT", help="write the names there as well")
    arguments, for_ctest = parser.parse_known_args()
    names = kernel_names()
    status = 0
    record = arguments.record
    if not record:
        record = pathlib.Path(tempfile.mkdtemp()) / "launched"
        environment = {**os.environ, "GRAFT_EMULATE_LAUNCHED": str(record)}
        status = subprocess.run(["ctest", "--test-dir", str(arguments.build), "-L", "^cuda$", "-j", str(os.cpu_count()), *for_ctest],
                                env=environment, check=False).returncode
    own = compiled(arguments.build, names)
    seen = launched(record) & own.keys()
    function_of = {name: re.split(r"[<(]", text, maxsplit=1)[0] for name, text in own.items()}
    missing = sorted(set(function_of.values()) - {function_of[name] for name in seen})
    print(f"kernels: {len(names)}, launched {len(names) - len(missing)}; instantiations: {len(own)}, launched {len(seen)}")
    for function in missing:
        print(f"  not launched: {function}, {names[function.rsplit('::', 1)[-1]]}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"launched": sorted(own[n] for n in seen),
                                               "not launched": sorted(own[n] for n in own.keys() - seen)}, indent=1) + "\n")
    return 1 if status or missing else 0


if __name__ == "__main__":
    sys.exit(main())
