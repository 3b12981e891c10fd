// Where a figure comes from: the commit this program was built from, and the machine it runs on.
#pragma once

#include <string>
#include <string_view>

namespace longspan {

// The abbreviated hash, with "+" behind it where tracked files had been changed; "unknown" outside a repository.
std::string_view build_commit();
// The processor's model name and the number of cores this process may use; "unknown processor" where the system does
// not say.
std::string machine_name();

}  // namespace longspan
