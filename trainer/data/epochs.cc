#include "trainer/data/epochs.h"

#include <numeric>

#include "trainer/data/random.h"

namespace longspan {

std::vector<std::int64_t> epoch_order(std::int64_t count, const SourceOptions& options, std::int64_t epoch) {
  if (options.shuffle_seed) {
    return shuffled_order(count, mix_seeds(*options.shuffle_seed, 0, static_cast<std::uint64_t>(epoch)));
  }
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  return order;
}

}  // namespace longspan
