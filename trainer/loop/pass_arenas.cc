#include "trainer/loop/pass_arenas.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace longspan {

// On the host packed documents may need somewhat more than the budget's full ones. A GPU's memory is real: what is
// asked for, and the little that aligning the ends takes.
std::int64_t PassArenas::capacity_for(std::int64_t num_bytes) const {
  constexpr std::int64_t kHostRoom = std::int64_t{64} << 20, kDeviceRoom = 4096;
  return runtime_.device() == Device::kCpu ? 2 * num_bytes + kHostRoom : num_bytes + kDeviceRoom;
}

PassArenas::PassArenas(const PassBytes& bytes, DeviceRuntime& runtime, Communicator& context)
    : runtime_(runtime),
      pool_of_(bytes.pool_of),
      passes_([&] {
        std::vector<std::vector<Pass>> passes;
        for (const PassBytes::Pool& pool : bytes.pools) {
          passes.emplace_back(static_cast<std::size_t>(pool.passes));
          for (Pass& pass : passes.back()) pass.kept.emplace("activations", capacity_for(pool.kept), runtime);
        }
        return passes;
      }()),
      transient_(std::in_place, "transient", capacity_for(bytes.transient), runtime),
      workspace_(std::in_place, "workspace", capacity_for(bytes.workspace), runtime),
      registered_(context, used_by_attention()) {
  book_hand_overs(bytes);
}

std::int64_t PassArenas::hand_over_bytes(const PassBytes& bytes) {
  constexpr std::int64_t kAligned = 256;
  return bytes.hand_overs * (bytes.hand_over + kAligned);
}

void PassArenas::book_hand_overs(const PassBytes& bytes) {
  hand_overs_.clear();
  hand_over_arena_.reset();
  hand_over_arena_.emplace("between stages", capacity_for(hand_over_bytes(bytes)), runtime_);
  for (int i = 0; i < bytes.hand_overs; ++i)
    hand_overs_.push_back(
        hand_over_arena_->allocate("between stages", MemoryCategory::kTransfers, DType::kI8, {bytes.hand_over}));
}

std::vector<const Arena*> PassArenas::used_by_attention() const {
  std::vector<const Arena*> arenas{&*transient_, &*workspace_};
  for (const auto& chunk : passes_)
    for (const Pass& pass : chunk) arenas.push_back(&*pass.kept);
  return arenas;
}

PassArenas::Pass& PassArenas::at(const Slot& slot) {
  return passes_[static_cast<std::size_t>(slot.pool)][static_cast<std::size_t>(slot.number)];
}

PassArenas::Slot PassArenas::take(int chunk) {
  const int pool = pool_of_[static_cast<std::size_t>(chunk)];
  std::vector<Pass>& passes = passes_[static_cast<std::size_t>(pool)];
  const auto free = std::find_if(passes.begin(), passes.end(), [](const Pass& pass) { return !pass.is_taken; });
  LS_CHECK(free != passes.end(), "more than {} passes at once, one more of chunk {}", passes.size(), chunk);
  free->is_taken = true;
  return {pool, static_cast<int>(free - passes.begin())};
}

void PassArenas::give_back(const Slot& slot) {
  at(slot).is_taken = false;
}

Arena& PassArenas::kept(const Slot& slot) {
  return *at(slot).kept;
}

Arena& PassArenas::roomiest(int chunk) {
  Arena& kept = *at({pool_of_[static_cast<std::size_t>(chunk)], 0}).kept;
  return kept.capacity_bytes() > transient_->capacity_bytes() ? kept : *transient_;
}

ActivationOffload& PassArenas::offload(const Slot& slot) {
  Pass& pass = at(slot);
  if (!pass.offload) pass.offload = std::make_unique<ActivationOffload>(runtime_);
  return *pass.offload;
}

std::int64_t PassArenas::peak_bytes() const {
  std::int64_t peak = transient_->peak_bytes() + workspace_->peak_bytes() + hand_over_arena_->peak_bytes();
  for (const auto& chunk : passes_)
    for (const Pass& pass : chunk) peak += pass.kept->peak_bytes();
  return peak;
}

void PassArenas::make_room(const PassBytes& bytes, Stream stream) {
  constexpr std::int64_t kAligned = 4096;
  const auto is_enough = [&](const Arena& arena, std::int64_t need) {
    return need + kAligned <= arena.capacity_bytes();
  };
  const bool hands_over = hand_overs_.empty() || bytes.hand_over <= hand_overs_.front().num_bytes();
  bool enough = is_enough(*transient_, bytes.transient) && is_enough(*workspace_, bytes.workspace) && hands_over;
  for (std::size_t c = 0; c < passes_.size(); ++c)
    for (const Pass& pass : passes_[c]) enough = enough && is_enough(*pass.kept, bytes.pools[c].kept);
  using Room = RegisteredArenas::Room;
  if (registered_.of_any_rank(enough ? Room::kEnough : Room::kLacking) == Room::kEnough) return;
  runtime_.synchronize(stream);
  registered_.drop();
  const auto grow = [&](std::optional<Arena>& arena, const char* name, std::int64_t need) {
    if (is_enough(*arena, need)) return;
    arena.reset();  // before the new one, so that both need not fit
    arena.emplace(name, capacity_for(need), runtime_);
  };
  for (std::size_t c = 0; c < passes_.size(); ++c)
    for (Pass& pass : passes_[c]) grow(pass.kept, "activations", bytes.pools[c].kept);
  grow(transient_, "transient", bytes.transient);
  grow(workspace_, "workspace", bytes.workspace);
  if (!hands_over) book_hand_overs(bytes);
  registered_.replace(used_by_attention());
}

}  // namespace longspan
