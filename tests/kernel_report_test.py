"""tools/kernel_report.py on recorded listings (kernel_report_test/): what it reads, and which bars it says are missed."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
SCRIPT, CUOBJDUMP = HERE.parent / "tools/kernel_report.py", HERE / "kernel_report_test/cuobjdump"
sys.dont_write_bytecode = True
sys.path.insert(0, str(SCRIPT.parent))
import kernel_report  # noqa: E402

KERNELS = kernel_report.report(str(CUOBJDUMP), [pathlib.Path("kernels.cu.o")])


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, "--cuobjdump", CUOBJDUMP, *arguments], capture_output=True, text=True, check=False)


class KernelReport(unittest.TestCase):
    def kernels(self):
        return {k["kernel"]: k for k in KERNELS}

    def expect_misses(self, rules, *lines):
        self.assertEqual(kernel_report.hold_to(rules, KERNELS), list(lines))

    def test_registers_shared_memory_and_threads_are_those_of_the_listings(self):
        multiply = self.kernels()["multiply"]
        self.assertEqual((multiply["registers"], multiply["shared"], multiply["threads"], multiply["arch"]), (22, 17408, 1024, "sm_90"))
        self.assertEqual(self.kernels()["copy_elements<float>"]["threads"], 128)

    def test_widest_accesses_are_in_bytes(self):
        widths = {name: (k["load_bytes"], k["store_bytes"]) for name, k in self.kernels().items()}
        self.assertEqual(widths, {"copy_packs": (16, 16), "copy_elements<float>": (4, 4), "copy_elements<short>": (2, 2),
                                  "pick_from_array": (4, 4), "multiply": (16, 16)})

    def test_local_memory_and_tensor_cores_are_counted(self):
        kernels = self.kernels()
        self.assertEqual([k["tensor_core"] for k in kernels.values()].count(1), 1)
        self.assertEqual(kernels["multiply"]["tensor_core"], 1)
        self.assertEqual(kernels["pick_from_array"]["stack"], 128)
        self.assertGreater(kernels["pick_from_array"]["local"], 30)
        self.assertEqual(kernels["multiply"]["local"], 0)

    def test_occupancy_is_that_of_the_occupancy_calculator(self):
        for arch, registers, shared, threads, expected in [
                ("sm_90", 32, 0, 256, 1), ("sm_90", 33, 0, 256, 0.75), ("sm_90", 128, 50176, 256, 0.25), ("sm_90", 168, 33792, 128, 0.1875),
                ("sm_90", 255, 0, 256, 0.125), ("sm_90", 16, 0, 32, 0.5), ("sm_80", 32, 100 << 10, 1024, 0.5), ("sm_90", 32, 100 << 10, 1024, 1)]:
            self.assertEqual(kernel_report.occupancy(arch, registers, shared, threads), expected, (arch, registers, shared, threads))

    def test_a_missed_bar_is_listed_and_fails(self):
        self.expect_misses([{"kernels": "", "stack": 0}], "sm_90 pick_from_array: stack 128, must be <= 0")
        self.expect_misses([{"kernels": "^copy", "load_bytes": 16}],
                           "sm_90 copy_elements<short>: load_bytes 2, must be >= 16", "sm_90 copy_elements<float>: load_bytes 4, must be >= 16")
        self.expect_misses([{"kernels": "^multiply$", "tensor_core": 2}], "sm_90 multiply: tensor_core 1, must be >= 2")

    def test_what_holds_passes(self):
        self.expect_misses([{"kernels": "", "registers": 22, "occupancy": 0.5}, {"kernels": "copy_packs", "load_bytes": 16, "store_bytes": 16}])

    def test_an_exception_says_why(self):
        rules = [{"kernels": "", "stack": 0}, {"kernels": "pick", "stack": 128, "why": "an array that is indexed"}]
        self.expect_misses(rules)
        del rules[1]["why"]
        self.expect_misses(rules, 'rule "pick" loosens stack from 0 to 128 without a why')

    def test_an_exception_that_nothing_needs_fails(self):
        self.expect_misses([{"kernels": "copy", "stack": 0}, {"kernels": "packs", "stack": 8, "why": "?"}],
                           'rule "packs": its exception for stack is not needed any more')

    def test_a_rule_that_matches_no_kernel_or_names_no_measure_fails(self):
        self.expect_misses([{"kernels": "softmax", "stack": 0}], 'rule "softmax" matches no kernel')
        self.expect_misses([{"kernels": "", "speed": 1}], 'rule {"kernels": "", "speed": 1}: unknown: speed')

    def test_a_rule_of_an_architecture_holds_there_only(self):
        self.expect_misses([{"kernels": "", "arch": "sm_80", "stack": 0}])
        self.expect_misses([{"kernels": "", "arch": "sm_90", "stack": 0}], "sm_90 pick_from_array: stack 128, must be <= 0")

    def test_the_table_joins_what_a_template_makes(self):
        self.assertIn(("copy_elements", "sm_90", "2", "10", "0", "0", "128", "1.0", "2..4", "2..4", "0", "0"),
                      list(kernel_report.table(KERNELS, each=False)))

    def test_the_command_fails_where_a_bar_is_missed(self):
        with tempfile.TemporaryDirectory() as folder:
            bars = pathlib.Path(folder) / "bars.json"
            for most, status in (0, 1), (128, 0):
                bars.write_text(json.dumps({"rules": [{"kernels": "", "stack": most}]}))
                result = run("kernels.cu.o", "--bars", str(bars))
                self.assertEqual(result.returncode, status, result.stderr)
                self.assertIn(f"5 kernels, {status} misses", result.stdout)

    def test_without_kernels_it_fails(self):
        with tempfile.TemporaryDirectory() as folder:
            result = run(folder)
        self.assertEqual(result.returncode, 1)
        self.assertIn("no kernels in", result.stderr)


if __name__ == "__main__":
    unittest.main()
