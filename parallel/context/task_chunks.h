// Task chunks: attention tasks cut into pieces of bounded work, so that transfers under way can be tested in between.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops/attention.h"

namespace longspan {

// The same pairs in the same order of keys for every row. Each chunk holds tasks of about max_pairs pairs x heads
// together; a single task in it holds no more, unless it is one head of 64 queries x 64 keys.
std::vector<std::vector<AttentionTask>> chunk_tasks(std::span<const AttentionTask> tasks, std::int64_t max_pairs);

}  // namespace longspan
