#include "parallel/pipeline/schedule_file.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "kernels/core/error.h"
#include "parallel/pipeline/schedule_validator.h"

namespace longspan {
namespace {

// An operation as a file has it.
struct Cell {
  int stage = 0;
  PipelineOpKind kind = PipelineOpKind::kForward;
  int micro_batch = 0;
};

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// Splits off what comes before the separator.
std::string_view take_until(std::string_view& text, char separator) {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

std::optional<PipelineOpKind> kind_of(char letter) {
  for (const PipelineOpKind kind : {PipelineOpKind::kForward, PipelineOpKind::kBackward, PipelineOpKind::kInputGradient,
                                    PipelineOpKind::kWeightGradient})
    if (letter_of(kind) == letter) return kind;
  return std::nullopt;
}

std::optional<Cell> cell_of(std::string_view text) {
  constexpr int kMost = 1 << 20;  // far beyond any pipeline, and products of two still fit
  Cell cell;
  const char* const end = text.data() + text.size();
  const auto stage = std::from_chars(text.data(), end, cell.stage);
  if (stage.ec != std::errc() || stage.ptr == end) return std::nullopt;
  const std::optional<PipelineOpKind> kind = kind_of(*stage.ptr);
  const auto micro_batch = std::from_chars(stage.ptr + 1, end, cell.micro_batch);
  if (!kind || micro_batch.ec != std::errc() || micro_batch.ptr != end) return std::nullopt;
  if (cell.stage < 0 || cell.stage > kMost || cell.micro_batch < 0 || cell.micro_batch > kMost) return std::nullopt;
  cell.kind = *kind;
  return cell;
}

std::vector<std::vector<Cell>> read_cells(std::string_view text, const std::string& name) {
  std::vector<std::vector<Cell>> ranks;
  for (int line_number = 1; !text.empty(); ++line_number) {
    std::string_view line = take_until(text, '\n');
    line = take_until(line, '#');
    std::vector<Cell> cells;
    for (int place = 1; !line.empty(); ++place) {
      const std::string_view word = trimmed(take_until(line, ','));
      if (word.empty()) continue;
      const std::optional<Cell> cell = cell_of(word);
      LS_REQUIRE(kData, cell,
                 "{}:{}: cell {} is '{}', expected a stage, one of F, B, I, W and a micro-batch, as in 0F3", name,
                 line_number, place, word.substr(0, 40));
      cells.push_back(*cell);
    }
    if (!cells.empty()) ranks.push_back(std::move(cells));
  }
  LS_REQUIRE(kData, !ranks.empty(), "{} holds no operation; a line a rank is expected, as in 0F0,0B0", name);
  return ranks;
}

}  // namespace

std::string to_csv(const PipelineSchedule& schedule) {
  std::string text;
  for (std::size_t r = 0; r < schedule.ops.size(); ++r) {
    for (const PipelineOp& op : schedule.ops[r])
      text += fmt::format("{}{}{}{}", &op == schedule.ops[r].data() ? "" : ",",
                          schedule.stage_of[r][static_cast<std::size_t>(op.chunk)], letter_of(op.kind), op.micro_batch);
    text += '\n';
  }
  return text;
}

PipelineSchedule schedule_from_csv(const std::string& text, const std::string& name) {
  const std::vector<std::vector<Cell>> ranks = read_cells(text, name);
  PipelineSchedule schedule{.name = name, .ranks = static_cast<int>(ranks.size())};
  for (const std::vector<Cell>& cells : ranks) {
    std::set<int> stages;
    for (const Cell& cell : cells) {
      stages.insert(cell.stage);
      schedule.micro_batches = std::max(schedule.micro_batches, cell.micro_batch + 1);
    }
    std::map<int, int> chunk_of;
    for (const int stage : stages) chunk_of.emplace(stage, static_cast<int>(chunk_of.size()));
    schedule.chunks = std::max(schedule.chunks, static_cast<int>(stages.size()));
    schedule.stage_of.emplace_back(stages.begin(), stages.end());
    std::vector<PipelineOp> ops;
    for (const Cell& cell : cells) ops.push_back({cell.kind, chunk_of[cell.stage], cell.micro_batch});
    schedule.ops.push_back(std::move(ops));
  }
  for (int r = 0; r < schedule.ranks; ++r) schedule.live_limit.push_back(peak_live(schedule, r));
  const std::optional<std::string> fault = find_fault(schedule);
  LS_REQUIRE(kData, !fault, "{}: {}", name, *fault);
  return schedule;
}

}  // namespace longspan
