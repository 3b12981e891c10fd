#!/usr/bin/env python3
"""A tree in order passes check_layers.py; each kind of fault planted in it is caught by file and line."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "check_layers.py"
IN_ORDER = {
    "kernels/core/platform.h": "#pragma once\n#if defined(__CUDACC__)\n#endif\n",
    "kernels/cpu/fast.cc": '#include "kernels/core/platform.h"\n#if HWY_ONCE\n#endif\n',
    "models/model.h": '#pragma once\n#include <vector>\n#include "kernels/core/platform.h"\n',
    "tests/models/model_test.cc": '#include "models/model.h"\n',
    "kernels/cuda/nvidia/device/warp.cuh": "#pragma once\n#include <cuda_runtime.h>\n",
    "kernels/cuda/emulated/device/warp.cuh": "#pragma once\n",
    "kernels/cuda/swiglu.cu": '#include "device/warp.cuh"\n',
}


class CheckLayers(unittest.TestCase):
    def check(self, planted):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**IN_ORDER, **planted}.items():
                file = pathlib.Path(folder, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    def assert_caught(self, planted, place):
        code, text = self.check(planted)
        self.assertEqual(code, 1, text)
        self.assertTrue(text.startswith(place), text)
        self.assertEqual(len(text.splitlines()), 1, text)

    def test_order_passes(self):
        code, text = self.check({})
        self.assertEqual(code, 0, text)

    def test_include_upward(self):
        self.assert_caught({"kernels/core/bad.cc": "\n#include \"models/model.h\"\n"}, "kernels/core/bad.cc:2:")

    def test_strangers(self):
        self.assert_caught(
            {"kernels/ops/op.h": "#pragma once\n", "parallel/comm/bad.cc": '#include "kernels/ops/op.h"\n'},
            "parallel/comm/bad.cc:1:")

    def test_nothing_includes_tests(self):
        self.assert_caught(
            {"tests/help.h": "#pragma once\n", "trainer/cli/bad.cc": '#include "tests/help.h"\n'}, "trainer/cli/bad.cc:1:")

    def test_condition_outside_platform(self):
        self.assert_caught({"models/bad.cc": "int a;\n#ifdef USE_MPI\n#endif\n"}, "models/bad.cc:2:")

    def test_highway_condition_outside_its_room(self):
        self.assert_caught({"models/bad.cc": "#if HWY_ONCE\n#endif\n"}, "models/bad.cc:1:")

    def test_other_condition_in_highways_room(self):
        self.assert_caught({"kernels/cpu/bad.cc": "#if HWY_ONCE && defined(X)\n#endif\n"}, "kernels/cpu/bad.cc:1:")

    def test_library_outside_its_room(self):
        self.assert_caught({"models/bad.cc": "#include <mpi.h>\n"}, "models/bad.cc:1:")

    def test_cuda_outside_the_vocabulary(self):
        self.assert_caught({"kernels/cuda/bad.cu": "#include <cuda_bf16.h>\n"}, "kernels/cuda/bad.cu:1:")

    def test_device_header_on_one_side_alone(self):
        name = "kernels/cuda/nvidia/device/math.cuh"
        self.assert_caught({name: "#pragma once\n"}, f"{name}:1:")

    def test_device_header_that_is_not_there(self):
        code, text = self.check({"kernels/cuda/bad.cu": '\n#include "device/heat.cuh"\n'})
        self.assertEqual(code, 1, text)
        self.assertIn('kernels/cuda/bad.cu:2: "device/heat.cuh" is not in kernels/cuda/emulated', text)

    def test_device_header_outside_its_rooms(self):
        self.assert_caught({"models/bad.cc": '#include "device/warp.cuh"\n'}, "models/bad.cc:1:")

    def test_path_not_from_the_root(self):
        self.assert_caught({"models/bad.cc": '#include "model.h"\n'}, "models/bad.cc:1:")

    def test_header_without_pragma_once(self):
        self.assert_caught({"models/bad.h": "int f();\n"}, "models/bad.h:1:")

    def test_folder_without_a_room(self):
        self.assert_caught({"kernels/attic/bad.cc": "\n"}, "kernels/attic/bad.cc:1:")

    def test_empty_tree_is_no_success(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
