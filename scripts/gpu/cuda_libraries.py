#!/usr/bin/env python3
"""Prints the folders of CUDA's libraries on this machine, joined by colons: CUDA_HOME's, and those of pip's nvidia-* wheels."""

import os
import pathlib
import site
import sys


def library_folders(environment, site_folders):
    """Toolkit first: it is what was asked for by name; then every lib folder of the wheels that holds a library."""
    candidates = [pathlib.Path(environment[key], lib)
                  for key in ("CUDA_HOME", "CUDA_PATH") if environment.get(key) for lib in ("lib64", "lib")]
    for folder in site_folders:
        candidates += sorted(pathlib.Path(folder, "nvidia").glob("*/lib"))
    found = []
    for candidate in candidates:
        if candidate not in found and any(candidate.glob("lib*.so*")):
            found.append(candidate)
    return [str(folder) for folder in found]


def main():
    site_folders = [entry for entry in [*site.getsitepackages(), site.getusersitepackages(), *sys.path]
                    if entry and os.path.isdir(entry)]
    print(":".join(library_folders(os.environ, site_folders)))


if __name__ == "__main__":
    main()
