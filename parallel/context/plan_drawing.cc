#include "parallel/context/plan_drawing.h"

#include <algorithm>

#include "parallel/context/plan_panel.h"
#include "parallel/context/problem.h"

namespace longspan {
namespace {

constexpr double kMargin = 28;
constexpr std::string_view kMuted = "font-size=\"12\" fill=\"#52606d\"";

// Places within the sequence where one document ends and another begins.
std::int64_t num_bounds(const ContextProblem& problem) {
  return std::count_if(problem.cu_seqlens.begin(), problem.cu_seqlens.end(),
                       [&](std::int64_t bound) { return 0 < bound && bound < problem.num_tokens(); });
}

std::string title_of(const ContextPlan& plan) {
  return fmt::format("{} over {}", plan.scheme, count_text(static_cast<std::size_t>(plan.ranks), "rank"));
}

// Returns where the rest begins.
double draw_heading(const ContextPlan& plan, SvgWriter& svg) {
  const ContextProblem& problem = plan.problem;
  svg.text(kMargin, 36, title_of(plan), "font-size=\"19\" font-weight=\"bold\" fill=\"#1f2933\"");
  svg.text(kMargin, 56,
           fmt::format("attention of {} in {}, {}, {} query and {} key/value heads",
                       count_text(static_cast<std::size_t>(problem.num_tokens()), "token"),
                       count_text(std::max<std::size_t>(problem.cu_seqlens.size(), 1) - 1, "document"),
                       mask_text(problem), problem.heads, problem.kv_heads),
           kMuted);
  svg.text(
      kMargin, 74,
      is_drawn_one_by_one(plan)
          ? "A bar is what a rank computes in a step, beside the busiest; an arrow is what it sends meanwhile or after."
          : "A row is as many ranks, a column as many steps as their numbers say; cells tell more under the mouse.",
      kMuted);
  return 104;
}

// One entry after another on a line.
class Legend {
 public:
  Legend(double y, SvgWriter& svg) : y_(y), svg_(svg) {}
  void words(std::string_view text) {
    svg_.text(x_, y_ + 10, text, kMuted);
    x_ += 6.1 * static_cast<double>(text.size()) + 14;
  }
  void chip(std::string_view colour, std::string_view style, std::string_view text) {
    svg_.box({x_, y_, 14, 12}, fmt::format("rx=\"2\" fill=\"{}\"{}", colour, style));
    x_ += 19;
    words(text);
  }
  void arrow(std::string_view style, std::string_view text) {
    svg_.path(fmt::format("M{} {}H{}", svg_number(x_), svg_number(y_ + 6), svg_number(x_ + 24)),
              fmt::format("stroke=\"{}\" stroke-width=\"1.4\" marker-end=\"url(#head0)\"{}", colour_of_rank(0), style));
    x_ += 32;
    words(text);
  }
  void bound(std::string_view text) {
    svg_.path(fmt::format("M{} {}V{}", svg_number(x_ + 2), svg_number(y_ - 1), svg_number(y_ + 13)),
              "stroke=\"#1f2933\"");
    x_ += 10;
    words(text);
  }
  double right() const { return x_; }

 private:
  double x_ = kMargin, y_;
  SvgWriter& svg_;
};

// Returns its lower right corner.
SvgBox draw_legend(const ContextPlan& plan, double y, SvgWriter& svg) {
  Legend first(y, svg), second(y + 22, svg), third(y + 44, svg);
  if (!is_drawn_one_by_one(plan)) {
    first.chip(kColourOfMany, "", "the busiest cell");
    first.chip(kColourOfMany, " fill-opacity=\".4\"", "less work");
    first.chip("#f0f2f5", "", "none");
    first.chip("#c77d0a", "", "bytes sent in the step");
    if (num_bounds(plan.problem) > 0) first.bound("documents meet");
    return {0, 0, first.right(), y + 12};
  }
  for (int rank = 0; rank < plan.ranks; ++rank) first.chip(colour_of_rank(rank), "", fmt::format("{}", rank));
  first.words("data of that rank");
  first.chip("#f0f2f5", "", "idle beside the busiest");
  if (num_bounds(plan.problem) > 0) first.bound("documents meet");
  if (plan.forward.transfers.empty() && plan.backward.transfers.empty()) return {0, 0, first.right(), y + 12};
  second.arrow("", "operands, for the next step: q queries, kv keys and values, dout gradients of outputs");
  third.arrow(" stroke-dasharray=\"3 2\"",
              "results, after the step's work, on their way home: out partial outputs, dq and dkv gradients");
  return {0, 0, std::max({first.right(), second.right(), third.right()}), y + 56};
}

}  // namespace

std::string draw_plan(const ContextPlan& plan, const WireDesc& desc) {
  SvgWriter svg;
  const SvgBox panels = draw_panels(plan, desc, kMargin, draw_heading(plan, svg), svg);
  const SvgBox legend = draw_legend(plan, panels.bottom() + 18, svg);
  return svg.finish(std::max(panels.right(), legend.right()) + kMargin, legend.bottom() + kMargin, title_of(plan),
                    panel_definitions());
}

}  // namespace longspan
