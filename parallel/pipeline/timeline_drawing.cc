#include "parallel/pipeline/timeline_drawing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/core/error.h"
#include "parallel/drawing/svg_writer.h"

namespace longspan {
namespace {

// Measures in pixels.
constexpr double kMargin = 28, kTop = 78, kRowGap = 6, kLaneHeight = 5, kAxisHeight = 34;
constexpr double kNumbersWidth = 110;  // to the right of the rows
constexpr double kLeastWidth = 560, kMostWidth = 1500;
constexpr double kLetterWidth = 0.58;  // of a digit one pixel high
constexpr double kSmallest = 7;        // of numbers
constexpr int kMostTallRows = 24;
// More boxes than this are drawn as one shape a colour and row.
constexpr std::size_t kMostBoxes = 3000;
constexpr std::string_view kMuted = "font-size=\"12\" fill=\"#52606d\"";
constexpr std::string_view kMutedEnd = "font-size=\"12\" fill=\"#52606d\" text-anchor=\"end\"";
constexpr std::string_view kMutedMiddle = "font-size=\"11\" fill=\"#52606d\" text-anchor=\"middle\"";
constexpr std::string_view kIdleColour = "#f0f2f5";

struct Colour {
  int red, green, blue;
};

constexpr Colour colour_of(PipelineOpKind kind) {
  switch (kind) {
    case PipelineOpKind::kForward: return {0x2f, 0x6f, 0xb5};
    case PipelineOpKind::kBackward: return {0x2f, 0x8f, 0x57};
    case PipelineOpKind::kInputGradient: return {0x1f, 0x9a, 0xa3};
    case PipelineOpKind::kWeightGradient: return {0xc7, 0x7d, 0x0a};
  }
  return {0, 0, 0};
}
constexpr std::array<Colour, 4> kExtraColours = {
    {{0x7a, 0x4b, 0xb5}, {0xb5, 0x45, 0x3f}, {0xc0, 0x5a, 0x9e}, {0x7d, 0x5a, 0x3c}}};

// How far towards white the chunks of a rank go: none for the first, two thirds for the last.
double paleness(int chunk, int chunks) {
  return chunks == 1 ? 0 : 0.62 * chunk / (chunks - 1);
}

std::string text_of(const Colour& colour, double pale) {
  const auto mix = [&](int part) { return static_cast<int>(std::lround(part + (255 - part) * pale)); };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(colour.red), mix(colour.green), mix(colour.blue));
}

std::string_view name_of(PipelineOpKind kind) {
  switch (kind) {
    case PipelineOpKind::kForward: return "forward";
    case PipelineOpKind::kBackward: return "backward";
    case PipelineOpKind::kInputGradient: return "gradient of the input";
    case PipelineOpKind::kWeightGradient: return "gradient of the weights";
  }
  return "";
}

// Three digits, in the unit that suits.
std::string time_text(double time, TimelineUnit unit) {
  if (unit == TimelineUnit::kForwards) return fmt::format("{:.4g}", time);
  if (time >= 1) return fmt::format("{:.{}f} s", time, time >= 100 ? 0 : time >= 10 ? 1 : 2);
  return time >= 1e-3 ? fmt::format("{:.3g} ms", 1e3 * time) : fmt::format("{:.3g} µs", 1e6 * time);
}

// 1, 2 or 5 times a power of ten, so that some ten of them fit.
double tick_of(double end) {
  const double power = std::pow(10, std::floor(std::log10(end / 10)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (end / (factor * power) <= 14) return factor * power;
  return 10 * power;
}

class Drawing {
 public:
  Drawing(const PipelineSchedule& schedule, const Timeline& timeline, const TimelineDrawing& how)
      : schedule_(schedule), timeline_(timeline), how_(how), end_(timeline.end) {
    for (const TimelineExtra& extra : how.extras) {
      end_ = std::max(end_, extra.end);
      has_lanes_ |= extra.place == TimelineExtra::Place::kUnderRow;
      if (std::find(extra_names_.begin(), extra_names_.end(), extra.name) == extra_names_.end())
        extra_names_.push_back(extra.name);
    }
    measure();
  }

  std::string draw() {
    draw_heading();
    for (int rank = 0; rank < schedule_.ranks; ++rank) draw_row(rank);
    draw_axis();
    const double right = draw_legend(axis_y() + kAxisHeight + 6);
    return svg_.finish(std::max({right, label_width_ + width_ + kNumbersWidth + kMargin, text_right_}) + kMargin,
                       axis_y() + kAxisHeight + 20 + kMargin, title(), "");
  }

 private:
  void measure() {
    std::size_t longest = 0;
    for (int rank = 0; rank < schedule_.ranks; ++rank) longest = std::max(longest, row_name(rank).size());
    label_width_ = kMargin + 12 + 6.2 * static_cast<double>(longest);
    row_height_ = schedule_.ranks <= kMostTallRows ? 22 : 12;
    // The common box holds its number, if the picture is not too wide then.
    std::vector<double> lengths;
    for (const auto& rank : timeline_.spans)
      for (const Timeline::Span& span : rank)
        if (span.end > span.begin) lengths.push_back(span.end - span.begin);
    num_boxes_ = lengths.size();
    double scale = 0;
    if (!lengths.empty()) {
      std::nth_element(lengths.begin(), lengths.begin() + static_cast<std::ptrdiff_t>(lengths.size() / 4),
                       lengths.end());
      const double digits = schedule_.micro_batches > 10 ? 2 : 1;
      scale = (digits * font_size() * kLetterWidth + 7) / lengths[lengths.size() / 4];
    }
    width_ = std::clamp(end_ * scale, kLeastWidth, kMostWidth);
  }

  double font_size() const { return row_height_ > 16 ? 11 : kSmallest; }
  double x_of(double time) const { return label_width_ + (end_ > 0 ? time / end_ * width_ : 0); }
  double row_y(int rank) const { return kTop + rank * (row_height_ + kRowGap + (has_lanes_ ? kLaneHeight + 1 : 0)); }
  double axis_y() const { return row_y(schedule_.ranks); }
  std::string row_name(int rank) const {
    return how_.row_names.empty() ? fmt::format("rank {}", rank) : how_.row_names[static_cast<std::size_t>(rank)];
  }

  std::string title() const {
    if (!how_.title.empty()) return how_.title;
    return fmt::format("{}: {} rank{}, {} micro-batch{}{}", schedule_.name, schedule_.ranks,
                       schedule_.ranks == 1 ? "" : "s", schedule_.micro_batches,
                       schedule_.micro_batches == 1 ? "" : "es",
                       schedule_.chunks == 1 ? "" : fmt::format(", {} chunks a rank", schedule_.chunks));
  }
  std::string subtitle() const {
    if (!how_.subtitle.empty()) return how_.subtitle;
    return fmt::format("{}{}, {:.1f} % of it idle", time_text(timeline_.end, how_.unit),
                       how_.unit == TimelineUnit::kForwards ? " times what a rank's forward takes" : "",
                       100 * timeline_.bubble());
  }

  void draw_heading() {
    svg_.text(kMargin, 36, title(), "font-size=\"19\" font-weight=\"bold\" fill=\"#1f2933\"");
    svg_.text(kMargin, 56, subtitle(), kMuted);
    text_right_ = kMargin + 6.3 * static_cast<double>(subtitle().size());
  }

  void draw_row(int rank) {
    const double y = row_y(rank);
    svg_.text(kMargin, y + row_height_ / 2 + 4, row_name(rank), "font-size=\"12\" fill=\"#1f2933\"");
    svg_.box({x_of(0), y, x_of(timeline_.end) - x_of(0), row_height_}, fmt::format("fill=\"{}\"", kIdleColour));
    if (num_boxes_ <= kMostBoxes)
      draw_boxes(rank);
    else
      draw_shapes(rank);
    for (const TimelineExtra& extra : how_.extras)
      if (extra.rank == rank) draw_extra(extra);
    const double idle = timeline_.end > 0 ? 1 - timeline_.busy_of(rank) / timeline_.end : 0;
    svg_.text(x_of(end_) + 60, y + row_height_ / 2 + 4, fmt::format("{:.1f} %", 100 * idle), kMutedEnd);
    svg_.text(x_of(end_) + kNumbersWidth, y + row_height_ / 2 + 4, fmt::format("{}", peak_live(schedule_, rank)),
              kMutedEnd);
  }

  std::string tip_of(const Timeline::Span& span) const {
    return fmt::format("{} of micro-batch {}{}: {} from {}", name_of(span.op.kind), span.op.micro_batch,
                       schedule_.chunks == 1 ? "" : fmt::format(", chunk {}", span.op.chunk),
                       time_text(span.end - span.begin, how_.unit), time_text(span.begin, how_.unit));
  }

  void draw_boxes(int rank) {
    const double y = row_y(rank);
    for (const Timeline::Span& span : timeline_.spans[static_cast<std::size_t>(rank)]) {
      const double x = x_of(span.begin), width = x_of(span.end) - x;
      if (width <= 0) continue;
      const double pale = paleness(span.op.chunk, schedule_.chunks);
      // A hair's breadth of background parts neighbours.
      const double gap = std::min(1.0, width / 4);
      svg_.box({x, y, width - gap, row_height_}, fmt::format("fill=\"{}\"", text_of(colour_of(span.op.kind), pale)),
               tip_of(span));
      const std::string number = fmt::format("{}", span.op.micro_batch);
      const auto fits = [&](double size) {
        return static_cast<double>(number.size()) * size * kLetterWidth + 1 <= width;
      };
      if (!fits(kSmallest)) continue;
      const double size = fits(font_size()) ? font_size() : kSmallest;
      svg_.text(x + (width - gap) / 2, y + row_height_ / 2 + size * 0.36, number,
                fmt::format("font-size=\"{:.0f}\" text-anchor=\"middle\" fill=\"{}\" pointer-events=\"none\"", size,
                            pale < 0.4 ? "#ffffff" : "#1f2933"));
    }
  }

  // One path a kind and chunk.
  void draw_shapes(int rank) {
    for (int chunk = 0; chunk < schedule_.chunks; ++chunk)
      for (const PipelineOpKind kind : {PipelineOpKind::kForward, PipelineOpKind::kBackward,
                                        PipelineOpKind::kInputGradient, PipelineOpKind::kWeightGradient}) {
        std::string shape;
        for (const Timeline::Span& span : timeline_.spans[static_cast<std::size_t>(rank)])
          if (span.op.kind == kind && span.op.chunk == chunk)
            shape += fmt::format("M{:.2f} {}V{}H{:.2f}V{}z", x_of(span.begin), svg_number(row_y(rank)),
                                 svg_number(row_y(rank) + row_height_), x_of(span.end), svg_number(row_y(rank)));
        if (!shape.empty())
          svg_.path(shape, fmt::format("fill=\"{}\"", text_of(colour_of(kind), paleness(chunk, schedule_.chunks))));
      }
  }

  Colour colour_of_extra(const std::string& name) const {
    const auto place = std::find(extra_names_.begin(), extra_names_.end(), name) - extra_names_.begin();
    return kExtraColours[static_cast<std::size_t>(place) % kExtraColours.size()];
  }

  void draw_extra(const TimelineExtra& extra) {
    const bool under = extra.place == TimelineExtra::Place::kUnderRow;
    const double x = x_of(extra.begin), width = std::max(x_of(extra.end) - x, 0.5);
    svg_.box({x, row_y(extra.rank) + (under ? row_height_ + 1 : 0), width, under ? kLaneHeight : row_height_},
             fmt::format("fill=\"{}\"", text_of(colour_of_extra(extra.name), 0)),
             fmt::format("{}: {} from {}", extra.name, time_text(extra.end - extra.begin, how_.unit),
                         time_text(extra.begin, how_.unit)));
  }

  void draw_axis() {
    const double y = axis_y() + 4;
    svg_.text(x_of(end_) + 60, kTop - 8, "idle", kMutedEnd);
    svg_.text(x_of(end_) + kNumbersWidth, kTop - 8, "holds", kMutedEnd);
    if (end_ <= 0) return;
    std::string shape = fmt::format("M{} {}H{}", svg_number(x_of(0)), svg_number(y), svg_number(x_of(end_)));
    const double tick = tick_of(end_);
    for (int i = 0; i * tick <= end_ * (1 + 1e-9); ++i) {
      shape += fmt::format("M{} {}v4", svg_number(x_of(i * tick)), svg_number(y));
      svg_.text(x_of(i * tick), y + 17, i == 0 ? "0" : time_text(i * tick, how_.unit), kMutedMiddle);
    }
    svg_.path(shape, "stroke=\"#9aa5b1\" fill=\"none\"");
  }

  // Returns where it ends.
  double draw_legend(double y) {
    double x = kMargin;
    const auto chip = [&](const std::string& colour, double width) {
      svg_.box({x, y, width, 12}, fmt::format("rx=\"2\" fill=\"{}\"", colour));
      x += width + 1;
    };
    const auto words = [&](std::string_view text) {
      svg_.text(x + 5, y + 10, text, kMuted);
      x += 6.1 * static_cast<double>(text.size()) + 22;
    };
    for (const PipelineOpKind kind : {PipelineOpKind::kForward, PipelineOpKind::kBackward,
                                      PipelineOpKind::kInputGradient, PipelineOpKind::kWeightGradient}) {
      if (!has(kind)) continue;
      for (int chunk = 0; chunk < schedule_.chunks; ++chunk)
        chip(text_of(colour_of(kind), paleness(chunk, schedule_.chunks)), schedule_.chunks == 1 ? 14 : 11);
      words(name_of(kind));
    }
    for (const std::string& name : extra_names_) chip(text_of(colour_of_extra(name), 0), 14), words(name);
    chip(std::string(kIdleColour), 14);
    words("idle");
    if (schedule_.chunks > 1) words(fmt::format("shades: chunk 0 … {}", schedule_.chunks - 1));
    return x;
  }

  bool has(PipelineOpKind kind) const {
    for (const auto& rank : timeline_.spans)
      for (const Timeline::Span& span : rank)
        if (span.op.kind == kind) return true;
    return false;
  }

  const PipelineSchedule& schedule_;
  const Timeline& timeline_;
  const TimelineDrawing& how_;
  SvgWriter svg_;
  std::vector<std::string> extra_names_;
  std::size_t num_boxes_ = 0;
  double end_, label_width_ = 0, width_ = 0, row_height_ = 0, text_right_ = 0;
  bool has_lanes_ = false;
};

}  // namespace

std::string draw_timeline(const PipelineSchedule& schedule, const Timeline& timeline, const TimelineDrawing& drawing) {
  LS_CHECK(static_cast<int>(timeline.spans.size()) == schedule.ranks, "a timeline of {} ranks for a schedule of {}",
           timeline.spans.size(), schedule.ranks);
  return Drawing(schedule, timeline, drawing).draw();
}

}  // namespace longspan
