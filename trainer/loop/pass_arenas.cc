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
      passes_([&] {
        std::vector<std::vector<Pass>> passes;
        for (const PassBytes::Chunk& chunk : bytes.chunks) {
          passes.emplace_back(static_cast<std::size_t>(chunk.passes));
          for (Pass& pass : passes.back()) pass.kept.emplace("activations", capacity_for(chunk.kept), runtime);
        }
        return passes;
      }()),
      transient_(std::in_place, "transient", capacity_for(bytes.transient), runtime),
      workspace_(std::in_place, "workspace", capacity_for(bytes.workspace), runtime),
      registered_(context, used_by_attention()) {
  book_hand_overs(bytes);
}

void PassArenas::book_hand_overs(const PassBytes& bytes) {
  hand_overs_.clear();
  hand_over_arena_.reset();
  hand_over_arena_.emplace("between stages", capacity_for(bytes.hand_overs * (bytes.hand_over + 256)), runtime_);
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
  return passes_[static_cast<std::size_t>(slot.chunk)][static_cast<std::size_t>(slot.number)];
}

PassArenas::Slot PassArenas::take(int chunk) {
  std::vector<Pass>& passes = passes_[static_cast<std::size_t>(chunk)];
  const auto free = std::find_if(passes.begin(), passes.end(), [](const Pass& pass) { return !pass.is_taken; });
  LS_CHECK(free != passes.end(), "more than {} passes of chunk {} at once", passes.size(), chunk);
  free->is_taken = true;
  return {chunk, static_cast<int>(free - passes.begin())};
}

void PassArenas::give_back(const Slot& slot) {
  at(slot).is_taken = false;
}

Arena& PassArenas::kept(const Slot& slot) {
  return *at(slot).kept;
}

Arena& PassArenas::roomiest(int chunk) {
  Arena& kept = *at({chunk, 0}).kept;
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
  if (runtime_.device() == Device::kCpu) return;
  const auto is_enough = [&](const Arena& arena, std::int64_t need) {
    return capacity_for(need) <= arena.capacity_bytes();
  };
  bool enough = is_enough(*transient_, bytes.transient) && is_enough(*workspace_, bytes.workspace) &&
                is_enough(*hand_over_arena_, bytes.hand_overs * (bytes.hand_over + 256));
  for (std::size_t c = 0; c < passes_.size(); ++c)
    for (const Pass& pass : passes_[c]) enough = enough && is_enough(*pass.kept, bytes.chunks[c].kept);
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
    for (Pass& pass : passes_[c]) grow(pass.kept, "activations", bytes.chunks[c].kept);
  grow(transient_, "transient", bytes.transient);
  grow(workspace_, "workspace", bytes.workspace);
  if (!is_enough(*hand_over_arena_, bytes.hand_overs * (bytes.hand_over + 256))) book_hand_overs(bytes);
  registered_.replace(used_by_attention());
}

}  // namespace longspan
