#include "parallel/context/plan_json.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <array>
#include <iterator>

namespace longspan {
namespace {

using nlohmann::json;

constexpr std::string_view kFormat = "longspan-context-plan";
constexpr std::int64_t kVersion = 1;
constexpr std::array<TransferKind, 6> kKinds = {TransferKind::kQuery,         TransferKind::kKeyValue,
                                                TransferKind::kOutput,        TransferKind::kOutputGradient,
                                                TransferKind::kQueryGradient, TransferKind::kKeyValueGradient};

// Writing. By hand, one line a transfer or task: plans of hundreds of ranks have hundreds of thousands of them, and
// people look into small ones.

using Output = std::back_insert_iterator<std::string>;

std::string bound(std::int64_t value, std::int64_t unbounded) {
  return value == unbounded ? "null" : fmt::format("{}", value);
}

void write(Output out, const PlanTransfer& t) {
  fmt::format_to(out, R"({{"kind": "{}", "from": {}, "to": {}, "step": {}, "range": [{}, {}, {}], "heads": [{}, {}]}})",
                 name_of(t.kind), t.from, t.to, t.step, t.range.owner, t.range.begin, t.range.end, t.head_begin,
                 t.head_end);
}

void write(Output out, const PlanTask& t) {
  fmt::format_to(
      out, R"({{"rank": {}, "step": {}, "q": [{}, {}, {}], "kv": [{}, {}, {}], "heads": [{}, {}], "band": [{}, {}]}})",
      t.rank, t.step, t.q.owner, t.q.begin, t.q.end, t.kv.owner, t.kv.begin, t.kv.end, t.head_begin, t.head_end,
      bound(t.band.lo, Band::kUnboundedLow), bound(t.band.hi, Band::kUnboundedHigh));
}

void write(Output out, const std::vector<TokenRun>& runs) {
  fmt::format_to(out, "[");
  for (std::size_t i = 0; i < runs.size(); ++i)
    fmt::format_to(out, R"({}{{"first": {}, "stride": {}, "count": {}}})", i > 0 ? ", " : "", runs[i].first,
                   runs[i].stride, runs[i].count);
  fmt::format_to(out, "]");
}

template <class T>
void write_lines(Output out, std::string_view indent, const std::vector<T>& list) {
  fmt::format_to(out, "[");
  for (std::size_t i = 0; i < list.size(); ++i) {
    fmt::format_to(out, "{}\n{}  ", i > 0 ? "," : "", indent);
    write(out, list[i]);
  }
  if (!list.empty()) fmt::format_to(out, "\n{}", indent);
  fmt::format_to(out, "]");
}

void write(Output out, std::string_view name, const PlanDirection& direction) {
  fmt::format_to(out, ",\n  \"{}\": {{\n    \"transfers\": ", name);
  write_lines(out, "    ", direction.transfers);
  fmt::format_to(out, ",\n    \"tasks\": ");
  write_lines(out, "    ", direction.tasks);
  fmt::format_to(out, "\n  }}");
}

// Reading. A Field is a value and the path it was reached by, which errors name.

class Field {
 public:
  Field(const json& value, std::string path) : value_(value), path_(std::move(path)) {}

  [[noreturn]] void refuse(std::string_view expected) const {
    std::string found = value_.dump();
    if (found.size() > 40) found = found.substr(0, 40) + "…";
    fail(ErrorKind::kData, "context plan: {} is {}, expected {}", path_, found, expected);
  }
  Field operator[](const char* key) const {
    const std::string path = path_.empty() ? key : fmt::format("{}.{}", path_, key);
    if (!value_.is_object()) refuse("an object");
    if (!value_.contains(key)) fail(ErrorKind::kData, "context plan: {} is missing", path);
    return Field(value_.at(key), path);
  }
  bool has(const char* key) const { return value_.is_object() && value_.contains(key); }
  std::int64_t integer() const {
    if (!value_.is_number_integer()) refuse("an integer");
    if (value_.is_number_unsigned() && value_.get<std::uint64_t>() > static_cast<std::uint64_t>(Band::kUnboundedHigh))
      refuse("an integer of at most 61 bits");
    return value_.get<std::int64_t>();
  }
  int small_integer() const {
    const std::int64_t value = integer();
    if (value != static_cast<int>(value)) refuse("an integer of at most 31 bits");
    return static_cast<int>(value);
  }
  std::string text() const {
    if (!value_.is_string()) refuse("a string");
    return value_.get<std::string>();
  }
  bool truth() const {
    if (!value_.is_boolean()) refuse("true or false");
    return value_.get<bool>();
  }
  bool is_null() const { return value_.is_null(); }
  std::vector<Field> list() const {
    if (!value_.is_array()) refuse("a list");
    std::vector<Field> fields;
    fields.reserve(value_.size());
    for (std::size_t i = 0; i < value_.size(); ++i) fields.emplace_back(value_[i], fmt::format("{}[{}]", path_, i));
    return fields;
  }
  std::vector<Field> list_of(std::size_t count, std::string_view expected) const {
    if (!value_.is_array() || value_.size() != count) refuse(expected);
    return list();
  }

 private:
  const json& value_;
  std::string path_;
};

TokenRange read_range(const Field& field) {
  const std::vector<Field> parts = field.list_of(3, "[owner, begin, end]");
  return {parts[0].small_integer(), parts[1].integer(), parts[2].integer()};
}

TransferKind read_kind(const Field& field) {
  const std::string name = field.text();
  for (const TransferKind kind : kKinds)
    if (name_of(kind) == name) return kind;
  field.refuse("q, kv, out, dout, dq or dkv");
}

PlanTransfer read_transfer(const Field& field) {
  const std::vector<Field> heads = field["heads"].list_of(2, "[begin, end]");
  return {read_kind(field["kind"]),    field["from"].small_integer(),
          field["to"].small_integer(), field["step"].small_integer(),
          read_range(field["range"]),  heads[0].integer(),
          heads[1].integer()};
}

PlanTask read_task(const Field& field) {
  const std::vector<Field> heads = field["heads"].list_of(2, "[begin, end]");
  PlanTask task{field["rank"].small_integer(),
                field["step"].small_integer(),
                read_range(field["q"]),
                read_range(field["kv"]),
                heads[0].integer(),
                heads[1].integer(),
                {}};
  if (!field.has("band")) return task;
  const std::vector<Field> band = field["band"].list_of(2, "[lo, hi]");
  if (!band[0].is_null()) task.band.lo = band[0].integer();
  if (!band[1].is_null()) task.band.hi = band[1].integer();
  return task;
}

PlanDirection read_direction(const Field& field) {
  PlanDirection direction;
  for (const Field& transfer : field["transfers"].list()) direction.transfers.push_back(read_transfer(transfer));
  for (const Field& task : field["tasks"].list()) direction.tasks.push_back(read_task(task));
  return direction;
}

}  // namespace

std::string to_json(const ContextPlan& plan) {
  std::string text;
  const Output out = std::back_inserter(text);
  fmt::format_to(out, "{{\n  \"format\": \"{}\", \"version\": {},\n", kFormat, kVersion);
  fmt::format_to(out, "  \"scheme\": {}, \"ranks\": {}, \"heads\": {}, \"kv_heads\": {},\n", json(plan.scheme).dump(),
                 plan.ranks, plan.problem.heads, plan.problem.kv_heads);
  fmt::format_to(out, "  \"causal\": {}, \"window\": {}, \"cu_seqlens\": [{}],\n  \"home\": ", plan.problem.causal,
                 plan.problem.window, fmt::join(plan.problem.cu_seqlens, ", "));
  write_lines(out, "  ", plan.home);
  write(out, "forward", plan.forward);
  write(out, "backward", plan.backward);
  text += "\n}\n";
  return text;
}

ContextPlan context_plan_from_json(const std::string& text) {
  json parsed;
  try {
    parsed = json::parse(text);
  } catch (const json::exception& error) {
    fail(ErrorKind::kData, "context plan: not JSON: {}", error.what());
  }
  const Field root(parsed, "");
  if (!parsed.is_object()) fail(ErrorKind::kData, "context plan: the file holds no object");
  if (root["format"].text() != kFormat) root["format"].refuse(kFormat);
  if (root["version"].integer() != kVersion) root["version"].refuse("1");

  ContextPlan plan;
  if (root.has("scheme")) plan.scheme = root["scheme"].text();
  plan.ranks = root["ranks"].small_integer();
  plan.problem.heads = root["heads"].integer();
  plan.problem.kv_heads = root["kv_heads"].integer();
  if (root.has("causal")) plan.problem.causal = root["causal"].truth();
  if (root.has("window")) plan.problem.window = root["window"].integer();
  for (const Field& bound : root["cu_seqlens"].list()) plan.problem.cu_seqlens.push_back(bound.integer());
  for (const Field& rank : root["home"].list()) {
    plan.home.emplace_back();
    for (const Field& run : rank.list())
      plan.home.back().push_back({run["first"].integer(), run["stride"].integer(), run["count"].integer()});
  }
  plan.forward = read_direction(root["forward"]);
  plan.backward = read_direction(root["backward"]);
  return plan;
}

}  // namespace longspan
