#include "parallel/context/token_strip.h"

#include <algorithm>
#include <cmath>

namespace longspan {
namespace {

// Owned stretches are counted in pixels of this width, so that a drawing's size does not grow with runs.
constexpr double kPixel = 0.5;
constexpr double kStripe = 3;  // width of a stripe, where there is room for a few of every rank's
constexpr double kFinestStripe = 0.25;
constexpr double kBetweenBounds = 6;  // from one document's line to the next

// How much of each pixel is owned, 0 … 1.
class Coverage {
 public:
  Coverage(std::int64_t num_tokens, double width)
      : pixels_each_(width / kPixel / static_cast<double>(std::max<std::int64_t>(1, num_tokens))),
        owned_(static_cast<std::size_t>(std::ceil(width / kPixel)) + 1) {}

  void add(const TokenRun& run) {
    const double begin = static_cast<double>(run.first) * pixels_each_;
    const double end = static_cast<double>(run.first + run.count) * pixels_each_;
    for (auto pixel = static_cast<std::size_t>(begin); static_cast<double>(pixel) < end; ++pixel)
      owned_[pixel] += std::min(end, static_cast<double>(pixel) + 1) - std::max(begin, static_cast<double>(pixel));
  }

  // Adjoining pixels of one shade (fifths, at least one where anything is owned) are one stretch.
  template <class F>
  void each_stretch(F draw) const {
    for (std::size_t begin = 0, end = 0; begin < owned_.size(); begin = end) {
      for (end = begin; end < owned_.size() && shade(end) == shade(begin);) ++end;
      if (shade(begin) > 0) draw(static_cast<double>(begin) * kPixel, static_cast<double>(end) * kPixel, shade(begin));
    }
  }

 private:
  int shade(std::size_t pixel) const {
    return owned_[pixel] <= 1e-9 ? 0 : std::clamp(static_cast<int>(std::lround(5 * owned_[pixel])), 1, 5);
  }
  double pixels_each_;
  std::vector<double> owned_;
};

// Runs of one stride that begin one after another, as those of neighbouring ranks do, are one run of wider stripes.
struct Stripes {
  TokenRun run;  // the first of them
  std::int64_t runs = 1;
  bool takes(const TokenRun& next) const { return next.stride == run.stride && next.first == run.first + runs; }
};

void draw_stripes(const Stripes& stripes, std::int64_t num_tokens, const SvgBox& place, const std::string& colour,
                  SvgWriter& svg) {
  const TokenRun& run = stripes.run;
  const double token = place.width / static_cast<double>(num_tokens);
  const auto stride = static_cast<double>(run.stride), runs = static_cast<double>(stripes.runs);
  const double stripe = std::max({token, std::min(kStripe, place.width / (4 * stride)), kFinestStripe});
  const double begin = place.x + static_cast<double>(run.first / run.stride * run.stride) * token;
  const double end =
      std::min(place.right(), place.x + (static_cast<double>(run.first + (run.count - 1) * run.stride) + runs) * token);
  const double middle = place.y + place.height / 2;
  svg.path(
      fmt::format("M{} {}H{}", svg_number(begin), svg_number(middle), svg_number(std::max(end, begin + stripe))),
      fmt::format("stroke=\"{}\" stroke-width=\"{}\" stroke-dasharray=\"{:.3f} {:.3f}\" stroke-dashoffset=\"{:.3f}\"",
                  colour, svg_number(place.height), stripe * runs, stripe * (stride - runs),
                  stripe * (stride - static_cast<double>(run.first % run.stride))));
}

}  // namespace

void draw_tokens(const ContextPlan& plan, int rank_begin, int rank_end, const SvgBox& place, const std::string& colour,
                 SvgWriter& svg) {
  svg.box(place, "fill=\"#f0f2f5\"");
  Coverage whole(plan.problem.num_tokens(), place.width);
  std::vector<Stripes> striped;
  for (int rank = rank_begin; rank < rank_end; ++rank)
    for (const TokenRun& run : plan.home[static_cast<std::size_t>(rank)])
      if (run.stride == 1 || run.count == 1)
        whole.add(run);
      else if (!striped.empty() && striped.back().takes(run))
        ++striped.back().runs;
      else
        striped.push_back({run});
  for (const Stripes& stripes : striped) draw_stripes(stripes, plan.problem.num_tokens(), place, colour, svg);
  whole.each_stretch([&](double begin, double end, int shade) {
    const double width = std::min(end, place.width) - begin;
    svg.box({place.x + begin, place.y, width, place.height},
            shade == 5 ? fmt::format("fill=\"{}\"", colour)
                       : fmt::format("fill=\"{}\" fill-opacity=\".{}\"", colour, 2 * shade));
  });
}

void draw_document_bounds(const ContextProblem& problem, const SvgBox& place, SvgWriter& svg) {
  if (problem.num_tokens() == 0) return;
  std::string shape;
  double last = place.x + 1 - kBetweenBounds;
  for (const std::int64_t bound : problem.cu_seqlens) {
    const double x = place.x + place.width * static_cast<double>(bound) / static_cast<double>(problem.num_tokens());
    if (x < last + kBetweenBounds || x > place.right() - 1) continue;
    shape += fmt::format("M{} {}V{}", svg_number(x), svg_number(place.y), svg_number(place.bottom()));
    last = x;
  }
  if (!shape.empty()) svg.path(shape, "stroke=\"#1f2933\" stroke-width=\"0.8\" fill=\"none\"");
}

}  // namespace longspan
