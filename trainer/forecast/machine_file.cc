#include "trainer/forecast/machine_file.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <set>
#include <sstream>

#include "kernels/core/error.h"

namespace longspan {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "longspan-machine";
constexpr int kVersion = 1;

// One map of the file; knows where it is, and afterwards whether every key in it was asked for.
class Reader {
 public:
  Reader(const Json& value, std::string file, std::string path)
      : value_(value), file_(std::move(file)), path_(std::move(path)) {
    if (!value.is_object()) refuse(path_, "a map");
  }

  double number(const char* key) {
    const Json& value = at(key);
    if (!value.is_number()) refuse(name(key), "a number");
    return value.get<double>();
  }
  int whole(const char* key) {
    const Json& value = at(key);
    if (!value.is_number_integer() || value < 0 || value > (1 << 20)) refuse(name(key), "a whole number");
    return value.get<int>();
  }
  std::string text(const char* key) {
    const Json& value = at(key);
    if (!value.is_string()) refuse(name(key), "a text");
    return value.get<std::string>();
  }
  Reader map(const char* key) { return {at(key), file_, name(key)}; }
  std::vector<Reader> maps(const char* key) {
    const Json& list = at(key);
    if (!list.is_array()) refuse(name(key), "a list of maps");
    std::vector<Reader> maps;
    for (std::size_t i = 0; i < list.size(); ++i)
      maps.emplace_back(list[i], file_, fmt::format("{}[{}]", name(key), i));
    return maps;
  }
  void finish() const {
    for (const auto& [key, value] : value_.items())
      LS_REQUIRE(kData, asked_.contains(key),
                 "{}: {} is no field of a machine file of version {}; measure anew with "
                 "longspan bench machine",
                 file_, name(key), kVersion);
  }
  [[noreturn]] void refuse(const std::string& field, std::string_view expected) const {
    fail(ErrorKind::kData, "{}: {}: expected {}; measure anew with longspan bench machine", file_,
         field.empty() ? "the file" : field, expected);
  }

 private:
  std::string name(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }
  const Json& at(const char* key) {
    const auto found = value_.find(key);
    if (found == value_.end()) refuse(name(key), "this field, which is missing");
    asked_.insert(key);
    return *found;
  }

  const Json& value_;
  std::string file_, path_;
  std::set<std::string> asked_;
};

Json json_of(const Link& link) {
  return {{"bytes_per_second", link.bytes_per_second},
          {"seconds_per_message", link.seconds_per_message},
          {"reduced_bytes_per_second", link.reduced_bytes_per_second}};
}

Link read_link(Reader map) {
  Link link{.bytes_per_second = map.number("bytes_per_second"),
            .seconds_per_message = map.number("seconds_per_message"),
            .reduced_bytes_per_second = map.number("reduced_bytes_per_second")};
  map.finish();
  return link;
}

std::string_view name_of(TransferOverlap overlap) {
  return overlap == TransferOverlap::kHidden ? "hidden" : "on_core";
}

Machine read_machine(Reader root) {
  Machine machine{.name = root.text("name"), .source = root.text("source")};
  const std::string precision = root.text("precision"), overlap = root.text("overlap");
  if (precision != "fp32" && precision != "bf16") root.refuse("precision", "fp32 or bf16");
  if (overlap != "hidden" && overlap != "on_core") root.refuse("overlap", "hidden or on_core");
  machine.precision = precision == "bf16" ? DType::kBF16 : DType::kF32;
  machine.overlap = overlap == "hidden" ? TransferOverlap::kHidden : TransferOverlap::kOnCore;
  machine.ranks = root.whole("ranks");
  machine.threads = root.whole("threads");
  machine.cores = root.number("cores");
  machine.memory = root.number("memory");
  machine.peak = root.number("peak");
  for (Reader& rate : root.maps("products")) {
    machine.products.push_back(
        {rate.number("width"), rate.number("forward"), rate.number("input_gradient"), rate.number("weight_gradient")});
    rate.finish();
  }
  for (Reader& rate : root.maps("attention")) {
    machine.attention.push_back({rate.number("head_dim"), rate.number("forward"), rate.number("backward")});
    rate.finish();
  }
  machine.head_rate = root.number("head_rate");
  machine.bytes_per_second = root.number("bytes_per_second");
  machine.update_bytes_per_second = root.number("update_bytes_per_second");
  machine.seconds_per_operator = root.number("seconds_per_operator");
  machine.node = read_link(root.map("node"));
  machine.network = read_link(root.map("network"));
  root.finish();
  return machine;
}

}  // namespace

std::string to_json(const Machine& machine) {
  Json products = Json::array(), attention = Json::array();
  for (const ProductRate& rate : machine.products)
    products.push_back({{"width", rate.width},
                        {"forward", rate.forward},
                        {"input_gradient", rate.input_gradient},
                        {"weight_gradient", rate.weight_gradient}});
  for (const AttentionRate& rate : machine.attention)
    attention.push_back({{"head_dim", rate.head_dim}, {"forward", rate.forward}, {"backward", rate.backward}});
  const Json json = {{"format", kFormat},
                     {"version", kVersion},
                     {"name", machine.name},
                     {"source", machine.source},
                     {"precision", name_of(machine.precision)},
                     {"ranks", machine.ranks},
                     {"threads", machine.threads},
                     {"cores", machine.cores},
                     {"memory", machine.memory},
                     {"peak", machine.peak},
                     {"products", products},
                     {"attention", attention},
                     {"head_rate", machine.head_rate},
                     {"bytes_per_second", machine.bytes_per_second},
                     {"update_bytes_per_second", machine.update_bytes_per_second},
                     {"seconds_per_operator", machine.seconds_per_operator},
                     {"node", json_of(machine.node)},
                     {"network", json_of(machine.network)},
                     {"overlap", name_of(machine.overlap)}};
  return json.dump(2) + "\n";
}

Machine machine_from_json(const std::string& text, const std::string& name) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& error) {
    fail(ErrorKind::kData, "{}: not JSON: {}; a machine file is written by longspan bench machine --out FILE", name,
         error.what());
  }
  LS_REQUIRE(kData, json.is_object() && json.value("format", Json()) == kFormat,
             "{}: is no machine file (\"format\": \"{}\"); longspan bench machine --out FILE writes one", name,
             kFormat);
  LS_REQUIRE(kData, json.value("version", Json()) == kVersion,
             "{}: a machine file of another version than {}; measure anew with longspan bench machine", name, kVersion);
  json.erase("format");
  json.erase("version");
  Machine machine = read_machine({json, name, ""});
  try {
    check_machine(machine);
  } catch (const Error& error) {
    fail(ErrorKind::kData, "{}: {}; measure anew with longspan bench machine", name, error.what());
  }
  return machine;
}

Machine read_machine_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  LS_REQUIRE(kData, file && (text << file.rdbuf()),
             "{}: cannot be read; longspan bench machine --out FILE measures this machine and writes such a file",
             path);
  return machine_from_json(text.str(), path);
}

void write_machine_file(const Machine& machine, const std::string& path) {
  std::ofstream file(path, std::ios::trunc);
  file << to_json(machine) << std::flush;
  LS_REQUIRE(kEnvironment, file, "{}: cannot write the machine file there; is the folder there, and has it room?",
             path);
}

}  // namespace longspan
