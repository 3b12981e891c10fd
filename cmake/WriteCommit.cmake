# Writes FILE: the commit of REPOSITORY, "+" behind it where tracked files differ; "unknown" outside a repository.
execute_process(COMMAND git describe --always --abbrev=10 --exclude=* --dirty=+ WORKING_DIRECTORY "${REPOSITORY}"
  OUTPUT_VARIABLE commit RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(failed)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT "${FILE}" @ONLY CONTENT [[
#include "trainer/check/build_info.h"

namespace longspan {

std::string_view build_commit() { return "@commit@"; }

}  // namespace longspan
]])
