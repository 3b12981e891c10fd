// SvgWriter: the few shapes that drawings need, as SVG text that any browser shows. No scripts, no styles of its own.
#pragma once

#include <string>
#include <string_view>

namespace longspan {

struct SvgBox {
  double x = 0, y = 0, width = 0, height = 0;
  double right() const { return x + width; }
  double bottom() const { return y + height; }
};

// Words and tips may hold any text and are escaped; `style` is attributes as they stand in the file. Coordinates are
// written to a tenth of a pixel.
class SvgWriter {
 public:
  // Shows the tip under the mouse (none if empty).
  void box(const SvgBox& box, std::string_view style, std::string_view tip = {});
  void text(double x, double y, std::string_view words, std::string_view style);
  void path(std::string_view shape, std::string_view style);
  // What is drawn until the group ends shares the style, and shows the tip under the mouse (none if empty).
  void begin_group(std::string_view style, std::string_view tip = {});
  void end_group();
  // The whole file. `definitions` stand before all shapes, as they are.
  std::string finish(double width, double height, std::string_view title, std::string_view definitions) const;

 private:
  std::string body_;
};

// A coordinate: to a tenth, without trailing zeros.
std::string svg_number(double value);
// Text between tags or in quotes; control characters, which XML cannot hold, become spaces.
std::string svg_escaped(std::string_view words);

}  // namespace longspan
