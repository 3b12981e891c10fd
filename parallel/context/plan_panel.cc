#include "parallel/context/plan_panel.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "parallel/context/proof.h"
#include "parallel/context/token_strip.h"

namespace longspan {
namespace {

// Measures in pixels.
constexpr double kLabelWidth = 62, kStripWidth = 150, kTokensWidth = 78;
constexpr double kHeadHeight = 52, kFootHeight = 28, kBetweenPanels = 18;
constexpr double kBarHeight = 18, kLineHeight = 13, kRowGap = 12;
constexpr double kLetterWidth = 0.54;  // of a text one pixel high, in the mean
constexpr double kWorkWidth = 62, kSendsWidth = 84;
constexpr double kTrafficHeight = 24;
// With more ranks or steps than this there are no words in cells.
constexpr int kMostWithWords = 8;
// More arrows than this are a grey field: they are left out.
constexpr std::size_t kMostArrows = 800;
constexpr std::string_view kMuted = "font-size=\"11\" fill=\"#52606d\"";
constexpr std::string_view kMutedMiddle = "font-size=\"11\" fill=\"#52606d\" text-anchor=\"middle\"";
constexpr std::string_view kMutedEnd = "font-size=\"11\" fill=\"#52606d\" text-anchor=\"end\"";

CellLots lots_of(const ContextPlan& plan, const PlanDirection& direction) {
  if (is_drawn_one_by_one(plan)) return {};
  return {false, (plan.ranks - 1) / kMostLots + 1, std::max(0, direction.num_steps() - 1) / kMostLots + 1};
}

std::size_t letters_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }));
}

// What of a cell's messages goes where: "q 3 MiB, kv 1 MiB → 3 ranks"; empty if nothing.
std::string sends_text(const PlanCell& cell, bool operands) {
  std::map<TransferKind, std::int64_t> by_kind;
  std::set<int> to;
  for (const CellMessage& message : cell.sends)
    if (is_operand(message.kind) == operands) by_kind[message.kind] += message.num_bytes, to.insert(message.to);
  std::string text;
  for (const auto& [kind, num_bytes] : by_kind)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name_of(kind), bytes_text(num_bytes));
  if (to.size() == 1) text += fmt::format(" → {}", *to.begin());
  if (to.size() > 1) text += fmt::format(" → {} ranks", to.size());
  return text;
}

std::string what_travels(const PlanDirection& direction) {
  const auto any = [&](TransferKind kind) {
    return std::any_of(direction.transfers.begin(), direction.transfers.end(),
                       [&](const PlanTransfer& transfer) { return transfer.kind == kind; });
  };
  const bool keys = any(TransferKind::kKeyValue), queries = any(TransferKind::kQuery);
  if (keys && queries) return "queries, keys and values travel";
  if (keys) return "keys and values travel";
  return queries ? "queries travel" : "nothing travels";
}

class Panel {
 public:
  Panel(const ContextPlan& plan, const PlanDirection& direction, const WireDesc& desc, SvgWriter& svg)
      : plan_(plan),
        direction_(direction),
        lots_(lots_of(plan, direction)),
        cells_(plan, direction, desc, lots_),
        svg_(svg) {
    if (lots_.one_by_one)
      measure_one_by_one();
    else
      measure_lots();
  }

  // Columns of two panels with words or both without stand under each other where there are as many.
  void align(const Panel& other) {
    if (cells_.columns() != other.cells_.columns() || has_words() != other.has_words()) return;
    cell_width_ = std::max(cell_width_, other.cell_width_);
    room_after_last_ |= other.room_after_last_;
  }

  SvgBox draw(std::string_view name, double x, double y) {
    x_ = x, y_ = y;
    draw_head(name);
    for (int row = 0; row < cells_.rows(); ++row) draw_row(row);
    draw_document_bounds(
        plan_.problem,
        {x_ + kLabelWidth, row_y(0) - 3, kStripWidth, row_y(cells_.rows() - 1) - row_y(0) + bar_height() + 6}, svg_);
    if (lots_.one_by_one)
      draw_arrows();
    else
      draw_traffic();
    const std::string foot = foot_text();
    svg_.text(x_, bottom() + 14, foot, "font-size=\"12\" fill=\"#1f2933\"");
    const double foot_width = static_cast<double>(letters_of(foot)) * 12 * kLetterWidth;
    return {x_, y_, std::max(foot_width, grid_right() + 8 + kWorkWidth + kSendsWidth - x_),
            bottom() + kFootHeight - y_};
  }

 private:
  bool has_words() const { return operand_lines_ || result_lines_; }
  bool sends_in_last_step() const {
    return cells_.columns() > 0 && cells_.bytes_sent_in_column(cells_.columns() - 1) > 0;
  }

  void measure_one_by_one() {
    const bool sends = cells_.total_bytes() > 0;
    std::size_t longest = 0;
    for (int row = 0; row < cells_.rows(); ++row)
      for (int column = 0; column < cells_.columns(); ++column)
        for (const bool operands : {true, false}) {
          const std::size_t letters = letters_of(sends_text(cells_.at(row, column), operands));
          longest = std::max(longest, letters);
          (operands ? operand_lines_ : result_lines_) |= letters > 0;
        }
    cell_width_ = std::max(72.0, static_cast<double>(longest) * 10 * kLetterWidth + 10);
    column_gap_ = sends ? 40 : 10;
    if (std::max(cells_.columns(), cells_.rows()) > kMostWithWords || cells_.columns() * cell_width_ > 900) {
      operand_lines_ = result_lines_ = false;
      cell_width_ = std::clamp(640.0 / cells_.columns(), 36.0, 120.0);
      column_gap_ = sends ? std::clamp(240.0 / cells_.columns(), 26.0, 80.0) : 6;
    }
    if (cells_.columns() == 0) cell_width_ = 160;
    row_gap_ = kRowGap;
    row_height_ = kBarHeight + kLineHeight * (int{operand_lines_} + int{result_lines_}) + row_gap_;
    room_after_last_ = sends_in_last_step();
  }

  void measure_lots() {
    cell_width_ = std::floor(std::clamp(560.0 / std::max(1, cells_.columns()), 12.0, 56.0)) - 1;
    column_gap_ = row_gap_ = 1;
    row_height_ = 14;
  }

  double grid_x() const { return x_ + kLabelWidth + kStripWidth + kTokensWidth; }
  double column_x(int column) const { return grid_x() + column * (cell_width_ + column_gap_); }
  double row_y(int row) const { return y_ + kHeadHeight + row * row_height_; }
  double bar_height() const { return lots_.one_by_one ? kBarHeight : row_height_ - row_gap_; }
  double grid_right() const {
    const int columns = std::max(1, cells_.columns());
    return grid_x() + columns * (cell_width_ + column_gap_) - (room_after_last_ ? 0 : column_gap_);
  }
  double bottom() const {
    return row_y(cells_.rows()) + (!lots_.one_by_one && cells_.total_bytes() > 0 ? kTrafficHeight + 8 : 0);
  }

  void draw_head(std::string_view name) {
    svg_.text(x_, y_ + 14, name, "font-size=\"15\" font-weight=\"bold\" fill=\"#1f2933\"");
    std::string words = what_travels(direction_);
    if (lots_.one_by_one && cells_.total_bytes() > 0)
      words += cells_.by_query_owner() ? "; colours say whose queries a rank works for"
                                       : "; colours say whose keys a rank works on";
    svg_.text(x_ + 96, y_ + 14, words, "font-size=\"12\" fill=\"#52606d\"");
    const double y = y_ + kHeadHeight - 10;
    svg_.text(x_ + kLabelWidth, y, "its tokens", kMuted);
    const int every = lots_.one_by_one || cells_.columns() <= 16 ? 1 : 4;
    for (int column = 0; column < cells_.columns(); column += every) {
      const double middle = column_x(column) + cell_width_ / 2;
      svg_.text(middle, y, fmt::format("{}{}", cell_width_ > 40 ? "step " : "", column * lots_.steps_each),
                kMutedMiddle);
    }
    if (cell_width_ <= 40) svg_.text(grid_x() - 10, y, "step", kMutedEnd);
    svg_.text(grid_right() + 8 + kWorkWidth, y, "work", kMutedEnd);
    svg_.text(grid_right() + 8 + kWorkWidth + kSendsWidth, y, "sends", kMutedEnd);
    if (cells_.columns() == 0) svg_.text(grid_x() + cell_width_ / 2, row_y(0) + 13, "nothing to compute", kMutedMiddle);
  }

  void draw_row(int row) {
    const double y = row_y(row), words_y = y + bar_height() / 2 + 4;
    const int begin = row * lots_.ranks_each, end = begin + cells_.ranks_of_row(row);
    std::int64_t tokens = 0, work = 0, num_bytes = 0;
    for (int rank = begin; rank < end; ++rank) tokens += plan_.tokens_of(rank);
    for (int column = 0; column < cells_.columns(); ++column) {
      work += cells_.at(row, column).work;
      num_bytes += cells_.at(row, column).num_bytes_sent;
    }
    std::string name = cells_.name_of_row(row);
    if (!lots_.one_by_one) name = name.substr(name.find(' ') + 1);
    svg_.text(x_, words_y, name, "font-size=\"11\" fill=\"#1f2933\"");
    const std::string colour(lots_.one_by_one ? colour_of_rank(row) : kColourOfMany);
    draw_tokens(plan_, begin, end, {x_ + kLabelWidth, y, kStripWidth, bar_height()}, colour, svg_);
    svg_.text(x_ + kLabelWidth + kStripWidth + 8, words_y, fmt::format("{}", tokens), kMuted);
    svg_.begin_group(fmt::format("fill=\"{}\"", kColourOfMany));
    for (int column = 0; column < cells_.columns(); ++column) draw_cell(row, column);
    svg_.end_group();
    const double share = static_cast<double>(work) / std::max(1.0, static_cast<double>(cells_.total_work()));
    svg_.text(grid_right() + 8 + kWorkWidth, words_y, fmt::format("{:.1f} %", 100 * share), kMutedEnd);
    svg_.text(grid_right() + 8 + kWorkWidth + kSendsWidth, words_y, bytes_text(num_bytes), kMutedEnd);
  }

  void draw_cell(int row, int column) {
    const PlanCell& cell = cells_.at(row, column);
    const SvgBox place{column_x(column), row_y(row), cell_width_, bar_height()};
    const std::string tip = cells_.describe(row, column);
    if (!lots_.one_by_one) {
      svg_.box(place,
               cell.work == 0 ? "fill=\"#f0f2f5\""
                              : fmt::format("fill-opacity=\"{:.2f}\"", 0.12 + 0.88 * cells_.load(row, column)),
               tip);
      return;
    }
    svg_.begin_group({}, tip);
    svg_.box(place, "rx=\"2\" fill=\"#f0f2f5\"");
    double from = place.x;
    for (const auto& [owner, work] : cell.by_owner) {
      if (work == 0) continue;
      const double width =
          cell_width_ * cells_.load(row, column) * static_cast<double>(work) / static_cast<double>(cell.work);
      svg_.box({from, place.y, width, kBarHeight}, fmt::format("fill=\"{}\"", colour_of_rank(owner)));
      from += width;
    }
    draw_sends(cell, place);
    svg_.end_group();
  }

  void draw_sends(const PlanCell& cell, const SvgBox& place) {
    double line = place.bottom() - 1;
    for (const bool operands : {true, false}) {
      if (!(operands ? operand_lines_ : result_lines_)) continue;
      const std::string words = sends_text(cell, operands);
      if (words.empty()) continue;
      line += kLineHeight;
      svg_.text(place.x, line, words,
                fmt::format("font-size=\"10\" fill=\"#1f2933\"{}", operands ? "" : " font-style=\"italic\""));
    }
  }

  // One for each sender, receiver, owner and class in a step, from its cell to the next step's.
  void draw_arrows() {
    using Arrow = std::tuple<int, bool, int, int, int>;  // step, result, from, to, owner
    std::set<Arrow> arrows;
    for (const PlanTransfer& t : direction_.transfers)
      arrows.insert({t.step, !is_operand(t.kind), t.from, t.to, t.range.owner});
    if (arrows.size() > kMostArrows) return;
    const std::size_t each = arrows.size() / static_cast<std::size_t>(std::max(1, cells_.columns()));
    const bool crowded = each > 64;  // heads and dashes would blur
    svg_.begin_group(fmt::format("fill=\"none\" stroke-width=\"1.4\" stroke-opacity=\"{}\"", crowded     ? "0.25"
                                                                                             : each > 16 ? "0.6"
                                                                                                         : "0.9"));
    // Those of several owners from one rank to another run side by side.
    std::tuple<int, bool, int, int> last{-1, false, 0, 0};
    double beside = 0;
    for (const auto& [step, result, from, to, owner] : arrows) {
      const std::tuple<int, bool, int, int> way{step, result, from, to};
      beside = way == last ? beside + 2 : 0;
      last = way;
      const double begin = column_x(step) + cell_width_ + 2, end = begin + column_gap_ - 6;
      const double side = (result ? 4 : -5) + beside, bend = (end - begin) / 2;
      const double from_y = row_y(from) + kBarHeight / 2 + side, to_y = row_y(to) + kBarHeight / 2 + side;
      svg_.path(
          fmt::format("M{} {}C{} {} {} {} {} {}", svg_number(begin), svg_number(from_y), svg_number(begin + bend),
                      svg_number(from_y), svg_number(end - bend), svg_number(to_y), svg_number(end), svg_number(to_y)),
          fmt::format("stroke=\"{}\"{}{}", colour_of_rank(owner), result && !crowded ? " stroke-dasharray=\"3 2\"" : "",
                      crowded ? "" : fmt::format(" marker-end=\"url(#head{})\"", owner % kMostOneByOne)));
    }
    svg_.end_group();
    if (sends_in_last_step()) svg_.text(grid_right() - 8, y_ + kHeadHeight - 10, "end", kMutedMiddle);
  }

  // Bytes that all ranks send in a step of each column, as bars under the grid.
  void draw_traffic() {
    if (cells_.total_bytes() == 0) return;
    std::vector<double> num_bytes;
    for (int column = 0; column < cells_.columns(); ++column)
      num_bytes.push_back(static_cast<double>(cells_.bytes_sent_in_column(column)) / cells_.steps_of_column(column));
    const double most = *std::max_element(num_bytes.begin(), num_bytes.end());
    const double base = row_y(cells_.rows()) + 6 + kTrafficHeight;
    svg_.text(grid_x() - 10, base - 8, "all send in a step", kMutedEnd);
    for (int column = 0; column < cells_.columns(); ++column) {
      const double each = num_bytes[static_cast<std::size_t>(column)], height = kTrafficHeight * each / most;
      svg_.box({column_x(column), base - height, cell_width_, height}, "fill=\"#c77d0a\"",
               fmt::format("{}: all ranks send {} in a step", cells_.name_of_column(column),
                           bytes_text(static_cast<std::int64_t>(each))));
    }
  }

  std::string foot_text() const {
    return fmt::format("{}, {}, {} of {} in all; busiest rank / mean: {:.3f} in all, {:.3f} step by step",
                       count_text(static_cast<std::size_t>(direction_.num_steps()), "step"),
                       count_text(direction_.tasks.size(), "task"), count_text(direction_.transfers.size(), "transfer"),
                       bytes_text(cells_.total_bytes()), balance_of_totals(plan_, direction_),
                       balance_of_steps(plan_, direction_));
  }

  const ContextPlan& plan_;
  const PlanDirection& direction_;
  const CellLots lots_;
  const PlanCells cells_;
  SvgWriter& svg_;
  double x_ = 0, y_ = 0;
  double cell_width_ = 0, column_gap_ = 0, row_height_ = 0, row_gap_ = 0;
  bool operand_lines_ = false, result_lines_ = false, room_after_last_ = false;
};

}  // namespace

std::string_view colour_of_rank(int rank) {
  static constexpr std::array<std::string_view, kMostOneByOne> kColours = {
      "#2f6fb5", "#c77d0a", "#2f8f57", "#b5453f", "#7a4bb5", "#1f9aa3", "#c05a9e", "#7d5a3c",
      "#8fb8e0", "#e8b766", "#8cc9a4", "#dd9a96", "#b79be0", "#85cdd2", "#e0a6cc", "#bfa288"};
  return kColours[static_cast<std::size_t>(rank % kMostOneByOne)];
}

SvgBox draw_panels(const ContextPlan& plan, const WireDesc& desc, double x, double y, SvgWriter& svg) {
  Panel forward(plan, plan.forward, desc, svg), backward(plan, plan.backward, desc, svg);
  forward.align(backward);
  backward.align(forward);
  const SvgBox above = forward.draw("forward", x, y);
  const SvgBox below = backward.draw("backward", x, above.bottom() + kBetweenPanels);
  return {x, y, std::max(above.width, below.width), below.bottom() - y};
}

bool is_drawn_one_by_one(const ContextPlan& plan) {
  return std::max({plan.ranks, plan.forward.num_steps(), plan.backward.num_steps()}) <= kMostOneByOne;
}

std::string panel_definitions() {
  std::string text = "<defs>\n";
  for (int rank = 0; rank < kMostOneByOne; ++rank)
    text += fmt::format(
        "<marker id=\"head{}\" viewBox=\"0 0 6 6\" refX=\"4\" refY=\"3\" markerWidth=\"5\" markerHeight=\"5\" "
        "orient=\"auto\"><path d=\"M0 0L6 3L0 6z\" fill=\"{}\"/></marker>\n",
        rank, colour_of_rank(rank));
  return text + "</defs>\n";
}

}  // namespace longspan
