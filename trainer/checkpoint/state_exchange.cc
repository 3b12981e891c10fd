#include "trainer/checkpoint/state_exchange.h"

#include <algorithm>
#include <deque>
#include <numeric>
#include <optional>
#include <unordered_map>

#include "kernels/core/host_copy.h"

namespace longspan {
namespace {

constexpr std::int64_t kPartElements = std::int64_t{16} << 20;

template <class Ranged>
void sort_by_begin(std::vector<Ranged>& all) {
  std::stable_sort(all.begin(), all.end(),
                   [](const Ranged& a, const Ranged& b) { return a.range.begin < b.range.begin; });
}

}  // namespace

StateExchange::StateExchange(Communicator& world, std::vector<NamedTensor> tensors,
                             const std::vector<StatePiece>& pieces, const Exec& exec)
    : world_(world), exec_(exec), tensors_(std::move(tensors)), pieces_(tensors_.size()), sources_(tensors_.size()) {
  std::unordered_map<std::string, std::size_t> places;
  for (std::size_t i = 0; i < tensors_.size(); ++i) places[tensors_[i].name] = i;
  std::vector<std::int64_t> brought;  // tensor, begin, end of each piece
  for (const StatePiece& piece : pieces) {
    const auto place = places.find(piece.tensor);
    LS_CHECK(place != places.end(), "a piece of {}, which is no tensor of the run", piece.tensor);
    const std::int64_t numel = tensors_[place->second].numel();
    LS_CHECK(piece.range.begin >= 0 && piece.range.end <= numel && piece.memory.numel() == piece.range.size() &&
                 piece.memory.dtype == DType::kF32,
             "a piece of {}: elements {} to {} of {} in {}", piece.tensor, piece.range.begin, piece.range.end, numel,
             piece.memory.describe());
    if (piece.range.size() == 0) continue;
    pieces_[place->second].push_back({piece.range, piece.memory, piece.role});
    if (piece.role == StateRole::kBrings)
      brought.insert(brought.end(), {static_cast<std::int64_t>(place->second), piece.range.begin, piece.range.end});
  }
  for (auto& of_tensor : pieces_) sort_by_begin(of_tensor);

  std::vector<std::int64_t> counts(static_cast<std::size_t>(world_.size()));
  std::int64_t count = static_cast<std::int64_t>(brought.size());
  world_.all_gather_v(Tensor(&count, DType::kI64, {1}), Tensor(counts.data(), DType::kI64, {world_.size()}),
                      std::vector<std::int64_t>(counts.size(), 1));
  const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  std::vector<std::int64_t> all(static_cast<std::size_t>(total));
  world_.all_gather_v(Tensor(brought.data(), DType::kI64, {count}), Tensor(all.data(), DType::kI64, {total}), counts);
  if (world_.rank() != 0) return;
  auto next = all.cbegin();
  for (int rank = 0; rank < world_.size(); ++rank)
    for (std::int64_t i = 0; i < counts[static_cast<std::size_t>(rank)]; i += 3, next += 3)
      sources_[static_cast<std::size_t>(next[0])].push_back({rank, {next[1], next[2]}});
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    sort_by_begin(sources_[i]);
    check_sources(i);
  }
}

void StateExchange::check_sources(std::size_t tensor) const {
  std::int64_t end = 0;
  int rank = -1;
  const auto require_none_missing = [&](std::int64_t begin) {
    LS_CHECK(begin <= end, "{}: elements {} to {} are brought to a checkpoint by no rank", tensors_[tensor].name, end,
             begin);
  };
  for (const Source& source : sources_[tensor]) {
    require_none_missing(source.range.begin);
    LS_CHECK(source.range.begin >= end, "{}: elements {} to {} are brought to a checkpoint by ranks {} and {}",
             tensors_[tensor].name, source.range.begin, std::min(end, source.range.end), rank, source.rank);
    end = source.range.end;
    rank = source.rank;
  }
  require_none_missing(tensors_[tensor].numel());
}

bool StateExchange::all_is_here() const {
  const auto is_here = [](const std::vector<Source>& sources) {
    return sources.empty() || (sources.size() == 1 && sources.front().rank == 0);
  };
  return world_.rank() == 0 && std::all_of(sources_.begin(), sources_.end(), is_here);
}

std::vector<NamedTensor> StateExchange::tensors_here() const {
  LS_CHECK(all_is_here(), "of a run's tensors some are elsewhere");
  std::vector<NamedTensor> tensors = tensors_;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    tensors[i].tensor = Tensor(nullptr, DType::kF32, {0});
    for (const Piece& piece : pieces_[i])
      if (piece.role == StateRole::kBrings) tensors[i].tensor = piece.memory;
  }
  return tensors;
}

void StateExchange::gather(const RoomFor& room_for) const {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (world_.rank() == 0)
      collect(i, room_for(i));
    else
      bring(i);
  }
  exec_.runtime->synchronize(exec_.stream);
}

void StateExchange::collect(std::size_t tensor, const Tensor& whole) const {
  std::vector<Receive> receives;
  for (const Source& source : sources_[tensor]) {
    if (source.rank == 0) continue;
    const Tensor part = whole.narrow(0, source.range.begin, source.range.end);
    receives.push_back({source.rank, part.data, part.num_bytes()});
  }
  std::unique_ptr<PendingTransfers> arriving;
  if (!receives.empty()) arriving = world_.start({}, receives, tensors_[tensor].name);
  for (const Piece& piece : pieces_[tensor])
    if (piece.role == StateRole::kBrings)
      copy_tensor(exec_, piece.memory, whole.narrow(0, piece.range.begin, piece.range.end));
  if (arriving) arriving->wait();
}

void StateExchange::bring(std::size_t tensor) const {
  std::deque<HostCopy> copies;
  std::vector<Send> sends;
  for (const Piece& piece : pieces_[tensor]) {
    if (piece.role != StateRole::kBrings) continue;
    const Tensor& copy = copies.emplace_back(exec_, piece.memory).tensor();
    sends.push_back({0, copy.data, copy.num_bytes()});
  }
  if (!sends.empty()) world_.start(sends, {}, tensors_[tensor].name)->wait();
}

const StateExchange::Piece* StateExchange::whole_on_host(std::size_t tensor) const {
  const std::vector<Piece>& pieces = pieces_[tensor];
  const bool whole = pieces.size() == 1 && pieces.front().range.size() == tensors_[tensor].numel();
  return whole && pieces.front().memory.device == Device::kCpu ? &pieces.front() : nullptr;
}

void StateExchange::scatter(const Read& read) const {
  std::vector<float> buffer;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const std::int64_t numel = tensors_[i].numel();
    const Piece* direct = whole_on_host(i);
    const bool reads = world_.rank() == 0;
    const std::int64_t buffered = direct != nullptr ? 0 : reads ? numel : std::min(numel, kPartElements);
    if (static_cast<std::int64_t>(buffer.size()) < buffered) buffer.resize(static_cast<std::size_t>(buffered));
    const Tensor whole = direct != nullptr ? direct->memory : Tensor(buffer.data(), DType::kF32, {buffered});
    if (reads) read(i, whole.narrow(0, 0, numel));
    for (std::int64_t begin = 0; begin < numel; begin += kPartElements) {
      const FlatRange part{begin, std::min(numel, begin + kPartElements)};
      const std::int64_t first = reads || direct != nullptr ? begin : 0;
      const Tensor values = whole.narrow(0, first, first + part.size());
      if (world_.size() > 1) world_.broadcast(values, 0);
      if (direct != nullptr) continue;
      for (const Piece& piece : pieces_[i]) {
        const FlatRange common = common_part(piece.range, part);
        if (common.size() == 0) continue;
        copy_tensor(exec_, values.narrow(0, common.begin - part.begin, common.end - part.begin),
                    piece.memory.narrow(0, common.begin - piece.range.begin, common.end - piece.range.begin));
      }
      exec_.runtime->synchronize(exec_.stream);  // before the buffer is filled anew
    }
  }
}

}  // namespace longspan
