// Machine files: what `longspan bench machine` has measured, as JSON (longspan-machine) for `longspan plan --machine`.
#pragma once

#include <string>

#include "trainer/forecast/machine.h"

namespace longspan {

std::string to_json(const Machine& machine);
// `name` is the file's, for errors. Throws Error(kData) naming the field and what was expected for what is no machine
// file, has a field that is missing, unknown or of another type, or a rate that check_machine() refuses.
Machine machine_from_json(const std::string& text, const std::string& name);

// Throws Error(kData) where there is none that can be read, and as above.
Machine read_machine_file(const std::string& path);
// Throws Error(kEnvironment).
void write_machine_file(const Machine& machine, const std::string& path);

}  // namespace longspan
