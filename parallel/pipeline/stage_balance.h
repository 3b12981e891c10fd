// Stage balance: which layers make a stage, by what they cost.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace longspan {

// Cuts a sequence of costs (of the embedding, the layers, the head: whatever must stay in this order) into `stages`
// parts that follow each other, none empty, so that the dearest is as cheap as can be; of such cuts, one whose parts
// come out as even as possible from the front. Returns where each part begins, and the number of costs at the end.
// Throws Error(kUsage), naming both numbers, where there are fewer costs than stages.
std::vector<std::int64_t> balance_stages(std::span<const double> costs, int stages);

}  // namespace longspan
