#include "parallel/context/plan_cells.h"

#include <algorithm>
#include <array>

#include "parallel/context/payload.h"

namespace longspan {
namespace {

// From here on a cell's owners and peers are counted, not listed.
constexpr std::size_t kMostListed = 8;

int lots_of(int count, int each) {
  return (count + each - 1) / each;
}

std::string name_of_lot(std::string_view thing, int lot, int each, int count) {
  const int first = lot * each, last = std::min(count, first + each) - 1;
  return first == last ? fmt::format("{} {}", thing, first) : fmt::format("{}s {} … {}", thing, first, last);
}

bool sends_any(const PlanDirection& direction, TransferKind kind) {
  return std::any_of(direction.transfers.begin(), direction.transfers.end(),
                     [&](const PlanTransfer& transfer) { return transfer.kind == kind; });
}

}  // namespace

std::string bytes_text(std::int64_t num_bytes) {
  static constexpr std::array<std::string_view, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(num_bytes);
  std::size_t unit = 0;
  for (; value >= 1000 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  std::string digits = fmt::format("{:.{}f}", value, value >= 100 || unit == 0 ? 0 : value >= 10 ? 1 : 2);
  if (digits.find('.') != std::string::npos) {
    digits.erase(digits.find_last_not_of('0') + 1);
    if (digits.back() == '.') digits.pop_back();
  }
  return fmt::format("{} {}", digits, kUnits[unit]);
}

std::string count_text(std::size_t count, std::string_view thing) {
  return fmt::format("{} {}{}", count, thing, count == 1 ? "" : "s");
}

PlanCells::PlanCells(const ContextPlan& plan, const PlanDirection& direction, const WireDesc& desc,
                     const CellLots& lots)
    : lots_(lots),
      num_ranks_(plan.ranks),
      num_steps_(direction.num_steps()),
      rows_(lots_of(num_ranks_, lots.ranks_each)),
      columns_(lots_of(num_steps_, lots.steps_each)),
      by_query_owner_(sends_any(direction, TransferKind::kQuery) && !sends_any(direction, TransferKind::kKeyValue)),
      cells_(static_cast<std::size_t>(rows_) * static_cast<std::size_t>(columns_)) {
  for (const PlanTask& task : direction.tasks) {
    PlanCell& cell = this->cell(task.rank, task.step);
    const std::int64_t work = work_of(task);
    cell.work += work;
    cell.by_owner[by_query_owner_ ? task.q.owner : task.kv.owner] += work;
    total_work_ += work;
  }
  for (int row = 0; row < rows_; ++row)
    for (int column = 0; column < columns_; ++column) busiest_ = std::max(busiest_, work_each(row, column));
  for (const PlanTransfer& transfer : direction.transfers) {
    const std::int64_t num_bytes =
        transfer.range.count() * (transfer.head_end - transfer.head_begin) * bytes_of_element(transfer.kind, desc);
    PlanCell& sender = cell(transfer.from, transfer.step);
    sender.num_bytes_sent += num_bytes;
    cell(transfer.to, transfer.step).num_bytes_received += num_bytes;
    total_bytes_ += num_bytes;
    if (lots.one_by_one)
      sender.sends.push_back({transfer.kind, transfer.from, transfer.to, transfer.range.owner, num_bytes});
  }
}

double PlanCells::work_each(int row, int column) const {
  return static_cast<double>(at(row, column).work) / ranks_of_row(row) / steps_of_column(column);
}

double PlanCells::load(int row, int column) const {
  return busiest_ == 0 ? 0 : work_each(row, column) / busiest_;
}

std::int64_t PlanCells::bytes_sent_in_column(int column) const {
  std::int64_t num_bytes = 0;
  for (int row = 0; row < rows_; ++row) num_bytes += at(row, column).num_bytes_sent;
  return num_bytes;
}

std::string PlanCells::name_of_row(int row) const {
  return name_of_lot("rank", row, lots_.ranks_each, num_ranks_);
}

std::string PlanCells::name_of_column(int column) const {
  return name_of_lot("step", column, lots_.steps_each, num_steps_);
}

std::string PlanCells::describe(int row, int column) const {
  const PlanCell& cell = at(row, column);
  const double total = std::max(1.0, static_cast<double>(total_work_));
  std::string text = fmt::format("{}, {}: ", name_of_row(row), name_of_column(column));
  if (cell.work == 0)
    text += "nothing to compute";
  else
    text += fmt::format("{:.2f} % of all work", 100 * static_cast<double>(cell.work) / total);
  if (lots_.one_by_one && cell.by_owner.size() <= kMostListed)
    for (const auto& [owner, work] : cell.by_owner)
      text += fmt::format("\n{:.2f} % on {} of rank {}", 100 * static_cast<double>(work) / total,
                          by_query_owner_ ? "queries" : "keys", owner);
  if (!cell.sends.empty() && cell.sends.size() <= kMostListed)
    for (const CellMessage& message : cell.sends)
      text += fmt::format("\nsends {} of rank {} to rank {}: {}", name_of(message.kind), message.owner, message.to,
                          bytes_text(message.num_bytes));
  else if (cell.num_bytes_sent > 0)
    text += fmt::format("\nsends {}", bytes_text(cell.num_bytes_sent));
  if (lots_.one_by_one && cell.num_bytes_received > 0)
    text += fmt::format("\nreceives {}", bytes_text(cell.num_bytes_received));
  return text;
}

}  // namespace longspan
