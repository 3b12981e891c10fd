#include "parallel/comm/communicator.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/core/error.h"

namespace longspan {
namespace {

// Strings travel as 32-bit words: tensors know no bytes.
std::int64_t words_for(std::int64_t num_bytes) {
  return (num_bytes + 3) / 4;
}

std::vector<std::int32_t> to_words(const std::string& text) {
  std::vector<std::int32_t> words(words_for(static_cast<std::int64_t>(text.size())));
  std::copy(text.begin(), text.end(), reinterpret_cast<char*>(words.data()));
  return words;
}

Tensor tensor_of(std::vector<std::int32_t>& words) {
  return Tensor(words.data(), DType::kI32, {static_cast<std::int64_t>(words.size())});
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  return lines;
}

std::string shortened(std::string_view line) {
  constexpr std::size_t kMaxChars = 100;
  return line.size() <= kMaxChars ? std::string(line) : fmt::format("{}...", line.substr(0, kMaxChars));
}

std::string differing_lines(std::string_view first, std::string_view other, int other_rank) {
  constexpr int kMaxShown = 3;
  const auto a = lines_of(first);
  const auto b = lines_of(other);
  std::string text;
  int num_differing = 0;
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    const std::string_view left = i < a.size() ? a[i] : "(no such line)";
    const std::string_view right = i < b.size() ? b[i] : "(no such line)";
    if (left == right || ++num_differing > kMaxShown) continue;
    text += fmt::format("\n  line {}: rank 0 has \"{}\", rank {} has \"{}\"", i + 1, shortened(left), other_rank,
                        shortened(right));
  }
  if (num_differing == 0) return "\n  in line ends only";
  if (num_differing > kMaxShown) text += fmt::format("\n  and {} more lines", num_differing - kMaxShown);
  return text;
}

}  // namespace

void Communicator::use_device(DeviceRuntime& runtime, Stream) {
  fail(ErrorKind::kUnsupported, "ranks over {} exchange the host's memory, not that of {}; set run.device to cpu",
       backend(), runtime.name());
}

std::unique_ptr<RegisteredMemory> Communicator::register_memory(void*, std::int64_t) {
  return nullptr;
}

void broadcast_string(Communicator& comm, std::string& text, int root) {
  auto num_bytes = static_cast<std::int64_t>(text.size());
  comm.broadcast(Tensor(&num_bytes, DType::kI64, {1}), root);
  std::vector<std::int32_t> words = to_words(text);
  words.resize(words_for(num_bytes));
  comm.broadcast(tensor_of(words), root);
  text.assign(reinterpret_cast<const char*>(words.data()), static_cast<std::size_t>(num_bytes));
}

std::vector<std::string> gather_strings(Communicator& comm, const std::string& text) {
  const int num_ranks = comm.size();
  auto num_bytes = static_cast<std::int64_t>(text.size());
  std::vector<std::int64_t> all_bytes(num_ranks);
  comm.all_gather_v(Tensor(&num_bytes, DType::kI64, {1}), Tensor(all_bytes.data(), DType::kI64, {num_ranks}),
                    std::vector<std::int64_t>(num_ranks, 1));

  std::vector<std::int64_t> counts(num_ranks);
  std::transform(all_bytes.begin(), all_bytes.end(), counts.begin(), words_for);
  std::vector<std::int32_t> mine = to_words(text);
  std::vector<std::int32_t> all(std::reduce(counts.begin(), counts.end()));
  comm.all_gather_v(tensor_of(mine), tensor_of(all), counts);

  std::vector<std::string> texts(num_ranks);
  const std::int32_t* at = all.data();
  for (int r = 0; r < num_ranks; at += counts[r], ++r) {
    texts[r].assign(reinterpret_cast<const char*>(at), static_cast<std::size_t>(all_bytes[r]));
  }
  return texts;
}

void require_same(Communicator& comm, const std::string& text, std::string_view what) {
  const std::vector<std::string> texts = gather_strings(comm, text);
  for (int r = 1; r < comm.size(); ++r) {
    LS_REQUIRE(kUsage, texts[r] == texts[0], "{} must be the same on all ranks, but rank {} differs from rank 0:{}",
               what, r, differing_lines(texts[0], texts[r], r));
  }
}

}  // namespace longspan
