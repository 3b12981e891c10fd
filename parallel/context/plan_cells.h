// Plan cells: what each rank does in each step of a direction, counted for drawings; or each lot of ranks in each lot
// of steps, where there are too many to show one by one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "parallel/context/context_plan.h"
#include "parallel/context/wire_desc.h"

namespace longspan {

// What a cell sends to one rank of one owner's data.
struct CellMessage {
  TransferKind kind = TransferKind::kKeyValue;
  int from = 0, to = 0, owner = 0;
  std::int64_t num_bytes = 0;
};

struct PlanCell {
  std::int64_t work = 0;                 // visible pairs times heads
  std::map<int, std::int64_t> by_owner;  // the same, by the rank whose side of the data the panel colours
  std::vector<CellMessage> sends;        // in the plan's order; only one by one
  std::int64_t num_bytes_sent = 0, num_bytes_received = 0;
};

// How many ranks share a row, and steps a column; the last row and column may have fewer. one_by_one: all a cell does
// is kept, and a cell is one rank in one step.
struct CellLots {
  bool one_by_one = true;
  int ranks_each = 1, steps_each = 1;
};

class PlanCells {
 public:
  PlanCells(const ContextPlan& plan, const PlanDirection& direction, const WireDesc& desc, const CellLots& lots);

  int rows() const { return rows_; }
  int columns() const { return columns_; }
  const PlanCell& at(int row, int column) const { return cells_[index(row, column)]; }
  // Work of a cell beside that of the busiest, 0 … 1: of a rank and step in the mean, where a cell is several.
  double load(int row, int column) const;
  std::int64_t total_work() const { return total_work_; }
  std::int64_t total_bytes() const { return total_bytes_; }
  // Queries travel while keys stay, so that work is told apart by whose queries it is for.
  bool by_query_owner() const { return by_query_owner_; }
  std::int64_t bytes_sent_in_column(int column) const;
  int ranks_of_row(int row) const { return std::min(num_ranks_ - row * lots_.ranks_each, lots_.ranks_each); }
  int steps_of_column(int column) const { return std::min(num_steps_ - column * lots_.steps_each, lots_.steps_each); }

  std::string name_of_row(int row) const;        // "rank 3", "ranks 4 … 7"
  std::string name_of_column(int column) const;  // "step 3", "steps 4 … 7"
  // All about a cell in words; less where it is a lot.
  std::string describe(int row, int column) const;

 private:
  double work_each(int row, int column) const;
  std::size_t index(int row, int column) const {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(columns_) + static_cast<std::size_t>(column);
  }
  PlanCell& cell(int rank, int step) { return cells_[index(rank / lots_.ranks_each, step / lots_.steps_each)]; }

  CellLots lots_;
  int num_ranks_, num_steps_, rows_, columns_;
  bool by_query_owner_ = false;
  std::vector<PlanCell> cells_;
  double busiest_ = 0;  // work_each() of the cell that has most
  std::int64_t total_work_ = 0, total_bytes_ = 0;
};

// "512 B", "1.5 MiB": three digits at most, for people.
std::string bytes_text(std::int64_t num_bytes);
// "1 step", "2 steps".
std::string count_text(std::size_t count, std::string_view thing);

}  // namespace longspan
