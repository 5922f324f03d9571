#!/usr/bin/env python3
"""Mutation check: a fault is put into a kernel, and a test of the emulated device must fail.

./dev cuda --mutants builds what this needs and runs it. tools/cuda_mutants.json lists the faults. A changed file is compiled alone,
by its own command of the build, and linked before the library, which then does not give its own version; nothing in the build is
touched. A mutant is killed by a report of the checker, a wrong result or a test that does not end. One that does not compile says
nothing and counts as a survivor. Succeeds where at least 97 % are killed and the list has a reason for each of the others.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
NEEDED = 0.97
KINDS = ("checker", "wrong value", "timeout", "does not compile", "survived")
# What the checker, the scheduler and the emulated runtime say (kernels/cuda/emulation), each with what follows it.
REPORT = re.compile(
    r"race on (?:shared|global) memory|(?:global|shared) memory out of bounds|uninitialised (?:global|shared) memory|host memory touched"
    r"|misaligned \w+|divergent [\w ]+|deadlock|returned before the barrier|is not in its own mask|names lanes that|shuffle reads lane"
    r"|needs 16-byte alignment|is not 16-byte aligned|work on the default stream|its owner has given back|use after free|outside any allocation"
    r"|exceeds its allocation|static shared memory|illegal memory access|invalid configuration|cudaError\w+")
WHERE = re.compile(r"\(([\w./-]+\.(?:cu|h|inc|cpp):\d+)\)")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog=__doc__.split("\n\n", 1)[1],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "cuda-emulated", help="a build of the preset cuda-emulated")
    parser.add_argument("--list", type=pathlib.Path, default=ROOT / "tools" / "cuda_mutants.json", help="the mutants")
    parser.add_argument("--only", metavar="PATTERN", default="", help="mutants in whose file or name the regular expression is found")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time (default: %(default)s)")
    parser.add_argument("--json", type=pathlib.Path, metavar="OUT", help="write the results there as well")
    parser.add_argument("--check-list", action="store_true", help="only look whether every text of the list is still in its file")
    return parser.parse_args()


class Mutant:
    """Group and mutant of the list: a mutant may name its own units, test and filter."""

    def __init__(self, group, own):
        self.file = group["file"]
        self.name, self.old, self.new, self.survives = own["name"], own["old"], own["new"], own.get("survives", "")
        self.units = own.get("units", group.get("units", [self.file]))
        self.test, self.filter = own.get("test", group["test"]), own.get("filter", group["filter"])
        self.label = f"{self.file.removeprefix('kernels/')}: {self.name}"
        self.verdict, self.detail, self.seconds = "", "", 0.0

    def changed(self):
        text = (ROOT / self.file).read_text()
        if self.old not in text:
            raise ValueError(f"{self.label}: the file has no {self.old!r}")
        if self.old == self.new:
            raise ValueError(f"{self.label}: changes nothing")
        return text.replace(self.old, self.new, 1)


def read_list(path):
    mutants = [Mutant(group, own) for group in json.loads(path.read_text()) for own in group["mutants"]]
    errors = [f"{m.label}: twice" for i, m in enumerate(mutants) if m.label in (o.label for o in mutants[:i])]
    for m in mutants:
        try:
            m.changed()
        except (OSError, ValueError) as e:
            errors.append(str(e))
    return mutants, errors


def run(command, cwd, cpu=None, **more):
    """Exit status and all output; `cpu`: seconds of processor time, after which it has not ended, on a busy machine as on an idle one."""
    if cpu:
        command = ["sh", "-c", f'ulimit -t {cpu}; exec "$@"', "sh", *command]
    try:
        done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=60 * cpu if cpu else None, **more)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as e:
        return -24, (e.stdout or b"").decode(errors="replace")


class Build:
    """The commands of a build: how a kernel file is compiled, and a test program linked."""

    def __init__(self, folder):
        self.folder = folder.resolve()
        self.compile, self.link = {}, {}
        text = subprocess.run(["ninja", "-C", str(self.folder), "-t", "commands", "graft_cuda_tests"], check=True, capture_output=True, text=True).stdout
        for line in text.splitlines():
            words = shlex.split(line.removeprefix(": && ").removesuffix(" && :"))
            if "-c" in words and words[-1].startswith(str(ROOT / "kernels")):
                self.compile[str(pathlib.Path(words[-1]).relative_to(ROOT))] = words
            elif "-o" in words and (out := words[words.index("-o") + 1]).startswith("tests/"):
                self.link[out.removeprefix("tests/")] = words

    def compile_command(self, unit, overlay, out):
        words = list(self.compile[unit])
        for flag in ("-MF", "-MT"):
            at = words.index(flag)
            del words[at:at + 2]
        words.remove("-MD")
        words[words.index("-o") + 1] = str(out)
        changed = overlay / "graft" / unit
        if changed.exists():
            words[-1] = str(changed)
        first = next(i for i, w in enumerate(words) if w.startswith("-I"))
        return words[:first] + [f"-I{overlay}"] + words[first:-2] + ["-w"] + words[-2:]

    def link_command(self, test, objects, out):
        words = list(self.link[test])
        words[words.index("-o") + 1] = str(out)
        library = words.index("libgraft.a")
        return words[:library] + [str(o) for o in objects] + words[library:]


def test_command(program, filter):
    return [str(program), "--gtest_brief=1", "--gtest_fail_fast", f"--gtest_filter={filter}"]


ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "GRAFT_EMULATE_RANDOM"}


def measure(build, test, filter):
    """Runs a filter without a fault: it must pass. The processor time that a mutant gets: ten times as much, and ten seconds."""
    report = build.folder / "mutants" / f"{re.sub(r'[^A-Za-z0-9]+', '_', test + filter)}.xml"
    command = test_command(build.folder / "tests" / test, filter) + [f"--gtest_output=xml:{report}"]
    child = subprocess.Popen(command, cwd=ROOT / "tests", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=ENVIRONMENT)
    text = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{test} --gtest_filter={filter} fails without a mutant:\n{text}")
    if '<testsuites tests="0"' in report.read_text():
        raise RuntimeError(f"{test}: no test matches {filter}")
    print(f"{test} {filter} passes in {used.ru_utime + used.ru_stime:.1f} s", flush=True)
    return int(10 + 10 * (used.ru_utime + used.ru_stime))


def try_mutant(build, m, limit):
    limit = limit.result()
    start = time.monotonic()
    folder = build.folder / "mutants" / re.sub(r"[^A-Za-z0-9]+", "_", m.label)
    shutil.rmtree(folder, ignore_errors=True)
    overlay = folder / "overlay"
    changed = overlay / "graft" / m.file
    changed.parent.mkdir(parents=True)
    changed.write_text(m.changed())
    m.verdict, m.detail = verdict_of(build, m, overlay, folder, limit)
    shutil.rmtree(folder)
    m.seconds = time.monotonic() - start
    return m


def verdict_of(build, m, overlay, folder, limit):
    objects = []
    for unit in m.units:
        objects.append(folder / (unit.replace("/", "_") + ".o"))
        code, text = run(build.compile_command(unit, overlay, objects[-1]), build.folder)
        if code:
            return "does not compile", next((l for l in text.splitlines() if "error" in l), text[-200:])
    program = folder / m.test
    code, text = run(build.link_command(m.test, objects, program), build.folder)
    if code:  # "multiple definition": the library's own version was taken as well
        return "does not compile", "does not link: " + text[-300:]
    code, text = run(test_command(program, m.filter), ROOT / "tests", cpu=limit, env=ENVIRONMENT)
    if code == 0:
        return "survived", ""
    if code in (-24, -9):  # SIGXCPU
        return "timeout", f"{limit} s"
    if found := REPORT.search(text):
        place = WHERE.search(text, found.start())
        return "checker", found.group(0) + (f" ({place.group(1).split('/graft/')[-1]})" if place else "")
    if code < 0:
        return "checker", f"signal {-code}"
    return "wrong value", next((l.strip() for l in text.splitlines() if "Failure" in l), "")


def table(mutants):
    rows = collections.defaultdict(collections.Counter)
    for m in mutants:
        rows[m.file][m.verdict] += 1
    wide = max(len(f) for f in [*rows, "file"])
    print(f"\n{'file':{wide}}  mutants  " + "  ".join(KINDS))
    for file, n in [*rows.items(), ("all", sum(rows.values(), collections.Counter()))]:
        print(f"{file:{wide}}  {sum(n.values()):7}  " + "  ".join(f"{n[k] or '-':>{len(k)}}" for k in KINDS))


def main():
    args = arguments()
    mutants, errors = read_list(args.list)
    if errors:
        print(*errors, sep="\n", file=sys.stderr)
        return 1
    if args.check_list:
        print(f"{len(mutants)} mutants, every text is in its file")
        return 0
    mutants = [m for m in mutants if re.search(args.only, m.label)]
    build = Build(args.build)
    missing = [f"{m.label}: the build has no {x}" for m in mutants for x in [u for u in m.units if u not in build.compile] + [t for t in [m.test] if t not in build.link]]
    if missing or not mutants:
        print(*missing or [f"no mutant is called {args.only}"], sep="\n", file=sys.stderr)
        return 1
    (build.folder / "mutants").mkdir(exist_ok=True)

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        limits, running = {}, []
        for m in mutants:
            if (m.test, m.filter) not in limits:
                limits[m.test, m.filter] = pool.submit(measure, build, m.test, m.filter)
            running.append(pool.submit(try_mutant, build, m, limits[m.test, m.filter]))
        try:
            for n, done in enumerate(concurrent.futures.as_completed(running), 1):
                m = done.result()
                print(f"[{n:3}/{len(mutants)}] {m.verdict:>16}  {m.label}  {m.detail[:160]}  {m.seconds:.0f} s", flush=True)
        except RuntimeError as e:
            pool.shutdown(cancel_futures=True)
            print(e, file=sys.stderr)
            return 1

    table(mutants)
    killed = sum(m.verdict in ("checker", "wrong value", "timeout") for m in mutants)
    alive = [m for m in mutants if m.verdict in ("survived", "does not compile")]
    for m in alive:
        print(f"{m.verdict}: {m.label}: {m.survives or m.detail or 'NO REASON IS GIVEN'}")
    for m in mutants:
        if m.survives and m not in alive:
            print(f"killed now, so that its reason to survive can go: {m.label}")
    print(f"{killed} of {len(mutants)} mutants are killed: {100 * killed / len(mutants):.1f} %, {100 * NEEDED:.0f} % are needed")
    if args.json:
        args.json.write_text(json.dumps([{k: getattr(m, k) for k in ("file", "name", "test", "filter", "verdict", "detail", "survives", "seconds")}
                                         for m in mutants], indent=1) + "\n")
    return 0 if killed >= NEEDED * len(mutants) and all(m.survives and m.verdict == "survived" for m in alive) else 1


if __name__ == "__main__":
    sys.exit(main())
