#!/usr/bin/env python3
"""The originals raced: composer's module_surgery.py, torch.ao, torch.fx and torch-mutable-modules beside graft.

./dev bench --peers installs what this needs and runs it. The same models, the same work, taking turns; the table shows the
median and the spread (smallest to largest) of the rounds.
"""
import argparse
import importlib.util
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import time
import types
import warnings

WIDE = 10_000  # Linear(2, 2), in groups of 100
REPLACED = 1_000  # composer takes time with the square of it: 90 s for 10,000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--graft", required=True, type=pathlib.Path, help="the benchmark program: build/release/benchmarks/surgery")
    parser.add_argument("--peers", required=True, type=pathlib.Path, help="where composer's and torch-mutable-modules' packages are unpacked")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path, help="write the figures there as well")
    return parser.parse_args()


def load_peers(folder):
    """Two files of composer without its package, which would need all that it trains with."""
    for name in ("composer", "composer.utils"):
        sys.modules[name] = types.ModuleType(name)
    modules = {}
    for name in ("iter_helpers", "module_surgery"):
        file = folder / "composer" / "utils" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"composer.utils.{name}", file)
        modules[name] = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules[name])
    sys.path.insert(0, str(folder))
    import torch_mutable_modules
    return modules["module_surgery"], torch_mutable_modules


def wide(torch, n=WIDE):
    groups = [torch.nn.Sequential(*[torch.nn.Linear(2, 2) for _ in range(100)]) for _ in range(n // 100)]
    return torch.nn.Sequential(*groups)


def resnet18(torch):
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inside, out, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inside, out, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(out)
            self.relu1 = nn.ReLU()
            self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(out)
            same = stride == 1 and inside == out
            self.shortcut = nn.Sequential() if same else nn.Sequential(
                nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            self.relu2 = nn.ReLU()

        def forward(self, x):
            return self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))) + self.shortcut(x))

    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inside = 64
    for width in (64, 128, 256, 512):
        for block in range(2):
            layers.append(Block(inside, width, 2 if block == 0 and width != 64 else 1))
            inside = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)).eval()


def named_groups(net):
    groups = [["0", "1", "2"]]
    for path, module in net.named_modules():
        if type(module).__name__ == "Block":
            groups += [[f"{path}.conv1", f"{path}.bn1", f"{path}.relu1"], [f"{path}.conv2", f"{path}.bn2"]]
            if len(module.shortcut):
                groups.append([f"{path}.shortcut.0", f"{path}.shortcut.1"])
    return groups


def races(torch, composer, mutable):
    """Name of graft's benchmark -> what the original is, and a function that prepares a run and returns it."""
    import torch.fx.experimental.optimization as fx
    from torch.ao.quantization import fuse_modules

    def replace():
        net = wide(torch, REPLACED)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        policy = {torch.nn.Linear: lambda module, index: torch.nn.Linear(2, 2)}
        return lambda: composer.replace_module_classes(net, policies=policy, optimizers=optimizer)

    def count():
        net = wide(torch)
        return lambda: composer.count_module_instances(net, torch.nn.Linear)

    def by_name():
        net = resnet18(torch)
        return lambda: fuse_modules(net, named_groups(net))

    def by_trace():
        net = resnet18(torch)
        return lambda: fx.fuse(net)

    def make_mutable():
        net = wide(torch)
        return lambda: mutable.to_mutable_module(net)

    return {
        f"replace_all/{REPLACED}": (f"replace {REPLACED:,} modules, optimizer follows", "composer", replace),
        f"count/{WIDE}": (f"count {WIDE:,} modules", "composer", count),
        "fuse_resnet18_by_name": ("fuse ResNet-18 by names, a copy", "torch.ao", by_name),
        "fuse_resnet18": ("fuse ResNet-18 by tracing", "torch.fx", by_trace),
        f"make_mutable/{WIDE}": (f"make {WIDE:,} modules mutable", "torch-mutable-modules", make_mutable),
    }


def of_graft(program, name):
    """Milliseconds of one run, the median of the program's repetitions; and the instruction set."""
    command = [program, f"--benchmark_filter=^{name}/min_time", "--benchmark_format=json"]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    if not output.stdout.strip():
        sys.exit(f"peers: {program} has no benchmark {name}: {output.stderr.strip()}")
    result = json.loads(output.stdout)
    median = next(b for b in result["benchmarks"] if b.get("aggregate_name") == "median")
    scale = {"ns": 1e-6, "us": 1e-3, "ms": 1, "s": 1e3}[median["time_unit"]]
    return median["real_time"] * scale, result["context"].get("instruction set", "?")


def of_peer(prepare):
    run = prepare()
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def shown(values):
    return f"{statistics.median(values):,.2f} ({min(values):,.2f} to {max(values):,.2f})"


def main():
    args = arguments()
    warnings.filterwarnings("ignore")
    import torch
    torch.set_num_threads(1)
    composer, mutable = load_peers(args.peers)
    todo = races(torch, composer, mutable)
    times = {name: ([], []) for name in todo}
    instruction_set = "?"
    for round_number in range(args.rounds):
        for i, (name, (text, _, prepare)) in enumerate(todo.items()):
            if sys.stderr.isatty():
                done = round_number * len(todo) + i
                print(f"\r\033[K[{done}/{args.rounds * len(todo)}] {text}", end="", file=sys.stderr, flush=True)
            ours, instruction_set = of_graft(args.graft, name)
            times[name][0].append(ours)
            times[name][1].append(of_peer(prepare))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)

    print(f"torch {torch.__version__}, Python {platform.python_version()}, one thread; graft: {instruction_set}; "
          f"ms, median (range) of {args.rounds} rounds in turns")
    rows = [["", "graft", "original", "", "ratio"]]
    figures = []
    for name, (text, peer, _) in todo.items():
        ours, theirs = times[name]
        ratio = statistics.median(theirs) / statistics.median(ours)
        rows.append([text, shown(ours), shown(theirs), peer, f"{ratio:,.1f}"])
        figures.append({"what": text, "peer": peer, "graft_ms": ours, "peer_ms": theirs, "ratio": ratio})
    width = [max(len(row[c]) for row in rows) for c in range(5)]
    for row in rows:
        print("  ".join(cell.ljust(w) if c in (0, 3) else cell.rjust(w) for c, (cell, w) in enumerate(zip(row, width))).rstrip())
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
