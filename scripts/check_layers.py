#!/usr/bin/env python3
"""Holds the order of the rooms: includes run downward only, and #if stays in kernels/core/platform.h.

    scripts/check_layers.py [ROOT]

Prints FILE:LINE: what is wrong, one line a fault; exit code 1 if there is any. Needs nothing but Python.
"""

import pathlib
import re
import sys

# What each room may include besides itself. A file belongs to the longest room its path begins with.
ROOMS = {
    "kernels/core": [],
    "kernels/ops": ["kernels/core"],
    "kernels/reference": ["kernels/core", "kernels/ops"],
    "kernels/cpu": ["kernels/core", "kernels/ops", "kernels/reference"],
    "kernels/cuda": ["kernels/core", "kernels/ops", "kernels/reference"],
    "kernels/cuda/none": ["kernels/core", "kernels/ops", "kernels/cuda"],
    "kernels/cuda/nvidia": ["kernels/core", "kernels/cuda", "kernels/cuda/runtime"],
    "kernels/cuda/emulated": ["kernels/core", "kernels/cuda"],
    "kernels/cuda/runtime": ["kernels/core", "kernels/ops", "kernels/cuda"],
    "parallel": ["kernels/core", "parallel/comm"],  # the mesh, which belongs to the post office
    "parallel/comm": ["kernels/core"],
    "parallel/drawing": ["kernels/core"],
    "parallel/context": ["kernels/core", "kernels/ops", "parallel", "parallel/comm", "parallel/drawing"],
    "parallel/data": ["kernels/core", "kernels/ops", "parallel", "parallel/comm"],
    "parallel/pipeline": ["kernels/core", "parallel", "parallel/comm", "parallel/drawing"],
    "models": ["kernels/core", "kernels/ops", "parallel", "parallel/comm", "parallel/context", "parallel/data"],
}
BELOW_TRAINER = [
    "kernels/core", "kernels/ops", "kernels/cuda",
    "parallel", "parallel/comm", "parallel/context", "parallel/data", "parallel/pipeline",
    "models",
]
# The trainer's own rooms from the ground up: each may use those before it.
TRAINER = ["io", "config", "data", "checkpoint", "launch", "loop", "forecast", "check", "cli"]
for place, name in enumerate(TRAINER):
    ROOMS[f"trainer/{name}"] = BELOW_TRAINER + [f"trainer/{below}" for below in TRAINER[:place]]
ROOMS["trainer/config"].append("trainer/data")  # a config is checked against the tokenizer and task it names
ROOMS["tests"] = list(ROOMS)

# Device code writes "device/NAME.cuh"; CMake chooses which of these folders that is in. All have the same names.
DEVICE_FOLDERS = ["kernels/cuda/nvidia", "kernels/cuda/emulated"]
MAY_USE_DEVICE = ["kernels/cuda", *DEVICE_FOLDERS, "tests"]

# Libraries that one place alone may speak to; the rest of the house goes through that place.
LIBRARIES = {
    r"mpi\.h": ["parallel/comm", "trainer/io", "trainer/checkpoint"],
    r"cuda.*|cublas.*|cudnn.*|nvtx3/.*": ["kernels/cuda/nvidia", "kernels/cuda/runtime"],
    r"nccl\.h": ["parallel/comm"],
    r"boost/context/.*": ["kernels/cuda/emulated"],
    r"hdf5\.h": ["trainer/io"],
    r"hwy/.*|immintrin\.h": ["kernels/cpu"],
    r"dnnl.*|oneapi/.*": ["kernels/cpu"],
    r"sentencepiece.*": ["trainer/data"],
    r"CLI/.*": ["trainer/cli", "trainer/config"],
    r"yaml-cpp/.*": ["trainer/config", "trainer/check"],
}

SOURCES = {".h", ".cc", ".cu", ".cuh"}
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^">]+)[">]')
CONDITION = re.compile(r"\s*#\s*(if|ifdef|ifndef|elif)\b\s*(.*?)\s*(//.*)?$")
# Highway compiles one file once for each instruction set; these lines are how it asks for that.
HIGHWAY = [
    re.compile(r"HWY_ONCE"),
    re.compile(r"defined\(LONGSPAN_\w+_INL_H_?\) == defined\(HWY_TARGET_TOGGLE\)"),
    re.compile(r"LONGSPAN_\w+_INL_H_?"),
]


def room_of(path):
    rooms = [room for room in ROOMS if path == room or path.startswith(room + "/")]
    return max(rooms, key=len, default=None)


def faults_of(root, path):
    """Yields (line number, sentence) for each fault of one file; path is relative to root."""
    room = room_of(path)
    if room is None:
        yield 1, "is in no room; name its folder in scripts/check_layers.py"
        return
    lines = (root / path).read_text(encoding="utf-8").splitlines()
    is_part = path.endswith("-inl.h")  # compiled several times into one file, so never "once"
    if path.endswith((".h", ".cuh")) and not is_part and "#pragma once" not in lines:
        yield 1, "has no #pragma once"
    for number, line in enumerate(lines, start=1):
        if condition := CONDITION.match(line):
            highway = room == "kernels/cpu" and any(form.fullmatch(condition[2]) for form in HIGHWAY)
            if path != "kernels/core/platform.h" and not highway:
                yield number, f"#{condition[1]} belongs in kernels/core/platform.h alone; choose files in CMake instead"
        elif include := INCLUDE.match(line):
            bracket, name = include.groups()
            yield from ((number, fault) for fault in include_faults(root, room, bracket, name))


def include_faults(root, room, bracket, name):
    if bracket == "<":
        for pattern, places in LIBRARIES.items():
            if re.fullmatch(pattern, name) and room != "tests" and room not in places:
                yield f"<{name}> is for {' and '.join(places)} alone"
        return
    if name.startswith("device/"):
        if room not in MAY_USE_DEVICE:
            yield f'"{name}" is for kernels/cuda alone'
        for folder in DEVICE_FOLDERS:
            if not (root / folder / name).is_file():
                yield f'"{name}" is not in {folder}'
        return
    if not (root / name).is_file():
        yield f'"{name}" is no file of the project; quoted includes give the path from its root'
        return
    other = room_of(name)
    if other != room and other not in ROOMS[room]:
        yield f'{room} may not include "{name}": {other} is not below it'


def unmatched_device_headers(root):
    """Yields a fault for each header of the device's vocabulary that one of the folders lacks."""
    names = {folder: {file.name for file in (root / folder / "device").glob("*.cuh")} for folder in DEVICE_FOLDERS}
    for folder in DEVICE_FOLDERS:
        for other in DEVICE_FOLDERS:
            for name in sorted(names[other] - names[folder]):
                yield f"{other}/device/{name}:1: has no counterpart in {folder}/device"


def source_files(root):
    for top in sorted({room.split("/")[0] for room in ROOMS}):
        for file in sorted((root / top).rglob("*")):
            if file.suffix in SOURCES:
                yield file.relative_to(root).as_posix()


def main(arguments):
    root = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).resolve().parent.parent)
    files = list(source_files(root))
    if not files:
        print(f"check_layers: no sources under {root}")
        return 1
    faults = [f"{file}:{line}: {what}" for file in files for line, what in faults_of(root, file)]
    faults += unmatched_device_headers(root)
    print("\n".join(faults) if faults else f"check_layers: {len(files)} files in order")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
