#include "parallel/drawing/svg_writer.h"

#include <fmt/format.h>

#include <cmath>

namespace longspan {

std::string svg_number(double value) {
  const double tenths = std::round(value * 10);
  if (std::fmod(tenths, 10) == 0) return fmt::format("{:.0f}", tenths / 10 + 0.0);  // + 0.0: no minus zero
  return fmt::format("{:.1f}", tenths / 10);
}

std::string svg_escaped(std::string_view words) {
  std::string escaped;
  for (const char letter : words) switch (letter) {
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '&': escaped += "&amp;"; break;
      case '"': escaped += "&quot;"; break;
      default: escaped += static_cast<unsigned char>(letter) < 0x20 ? ' ' : letter;
    }
  return escaped;
}

void SvgWriter::box(const SvgBox& box, std::string_view style, std::string_view tip) {
  body_ += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"{}{}", svg_number(box.x), svg_number(box.y),
                       svg_number(box.width), svg_number(box.height), style.empty() ? "" : " ", style);
  body_ += tip.empty() ? "/>\n" : fmt::format("><title>{}</title></rect>\n", svg_escaped(tip));
}

void SvgWriter::text(double x, double y, std::string_view words, std::string_view style) {
  body_ += fmt::format("<text x=\"{}\" y=\"{}\"{}{}>{}</text>\n", svg_number(x), svg_number(y),
                       style.empty() ? "" : " ", style, svg_escaped(words));
}

void SvgWriter::path(std::string_view shape, std::string_view style) {
  body_ += fmt::format("<path d=\"{}\"{}{}/>\n", shape, style.empty() ? "" : " ", style);
}

void SvgWriter::begin_group(std::string_view style, std::string_view tip) {
  body_ += fmt::format("<g{}{}>", style.empty() ? "" : " ", style);
  if (!tip.empty()) body_ += fmt::format("<title>{}</title>", svg_escaped(tip));
  body_ += "\n";
}

void SvgWriter::end_group() {
  body_ += "</g>\n";
}

std::string SvgWriter::finish(double width, double height, std::string_view title, std::string_view definitions) const {
  const std::string size = fmt::format("{:.0f} {:.0f}", std::ceil(width), std::ceil(height));
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0}\" width=\"{1:.0f}\" height=\"{2:.0f}\" "
      "font-family=\"Helvetica, Arial, sans-serif\" role=\"img\">\n<title>{3}</title>\n{4}"
      "<rect width=\"{1:.0f}\" height=\"{2:.0f}\" rx=\"8\" fill=\"#ffffff\"/>\n{5}</svg>\n",
      size, std::ceil(width), std::ceil(height), svg_escaped(title), definitions, body_);
}

}  // namespace longspan
