#include "models/layers/layer_list.h"

#include <array>

#include "models/layers/llama_layer.h"

namespace longspan {

std::span<const LayerKind* const> layer_kinds() {
  static const std::array<const LayerKind*, 1> kinds = {&llama_layer_kind()};
  return kinds;
}

const LayerKind& layer_kind(std::string_view name) {
  std::string names;
  for (const LayerKind* kind : layer_kinds()) {
    if (kind->name() == name) return *kind;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", kind->name());
  }
  fail(ErrorKind::kUnsupported, "model.attention.kind: \"{}\" is not built; use one of: {}", name, names);
}

}  // namespace longspan
