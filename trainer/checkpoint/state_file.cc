#include "trainer/checkpoint/state_file.h"

#include <nlohmann/json.hpp>

#include <charconv>
#include <numeric>

namespace longspan {
namespace {

constexpr const char* kFormat = "longspan-checkpoint";
constexpr int kVersion = 1;

std::uint64_t parse_hex(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  LS_REQUIRE(kData, error == std::errc() && end == text.data() + text.size(), "\"{}\" is not hexadecimal", text);
  return value;
}

}  // namespace

std::int64_t NamedTensor::numel() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::string to_json(const StateFile& file) {
  nlohmann::ordered_json json = {{"format", kFormat},
                                 {"version", kVersion},
                                 {"step", file.state.step},
                                 {"sequences_consumed", file.state.sequences_consumed},
                                 {"data_fingerprint", fmt::format("{:016x}", file.state.data_fingerprint)}};
  json["tensors"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < file.state.tensors.size(); ++i) {
    const NamedTensor& t = file.state.tensors[i];
    json["tensors"].push_back({{"name", t.name}, {"shape", t.shape}, {"xxh3_128", file.checksums[i]}});
  }
  return json.dump(1) + "\n";
}

StateFile state_file_from_json(const std::string& text, const std::string& path) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    LS_REQUIRE(kData, json.at("format") == kFormat && json.at("version") == kVersion,
               "format {} version {} is not one this program reads ({} version {})", json.at("format").dump(),
               json.at("version").dump(), kFormat, kVersion);
    StateFile file;
    file.state.step = json.at("step").get<std::int64_t>();
    file.state.sequences_consumed = json.at("sequences_consumed").get<std::int64_t>();
    file.state.data_fingerprint = parse_hex(json.at("data_fingerprint").get<std::string>());
    for (const auto& t : json.at("tensors")) {
      file.state.tensors.push_back({.name = t.at("name").get<std::string>(),
                                    .shape = t.at("shape").get<std::vector<std::int64_t>>(),
                                    .tensor = {}});
      file.checksums.push_back(t.at("xxh3_128").get<std::string>());
    }
    return file;
  } catch (const std::exception& error) {
    fail(ErrorKind::kData, "{}: {}", path, error.what());
  }
}

}  // namespace longspan
