#include "trainer/check/case_file.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>

#include "trainer/io/hdf5_file.h"

namespace longspan {
namespace {

constexpr std::int64_t kFormatVersion = 1;

template <class T>
T value_of(const YAML::Node& node, const std::string& path, const std::string& key) {
  try {
    return node.as<T>();
  } catch (const YAML::Exception&) {
    fail(ErrorKind::kData, "{}: attribute config: the value of '{}' is of the wrong type", path, key);
  }
}

AttentionKind parse_kind(const std::string& path, const std::string& yaml) {
  YAML::Node map;
  try {
    map = YAML::Load(yaml);
  } catch (const YAML::Exception& error) {
    fail(ErrorKind::kData, "{}: attribute config is no YAML: {}", path, error.what());
  }
  LS_REQUIRE(kData, map.IsMap(), "{}: attribute config is no map of keys", path);
  AttentionKind kind;
  for (const auto& entry : map) {
    const auto key = value_of<std::string>(entry.first, path, "(key)");
    const YAML::Node& node = entry.second;
    if (key == "kind") {
      kind.kind = value_of<std::string>(node, path, key);
    } else if (key == "causal") {
      kind.causal = value_of<bool>(node, path, key);
    } else if (key == "window") {
      kind.window = value_of<std::int64_t>(node, path, key);
    } else if (key == "scale") {
      if (!node.IsNull()) kind.scale = value_of<float>(node, path, key);
    } else if (key == "sink") {
      kind.sink = value_of<bool>(node, path, key);
    } else {
      fail(ErrorKind::kData, "{}: attribute config: softmax attention has no key '{}'", path, key);
    }
  }
  LS_REQUIRE(kData, kind.kind == "softmax", "{}: op is softmax, but config says kind: {}", path, kind.kind);
  LS_REQUIRE(kData, kind.window >= 0 && (kind.window == 0 || kind.causal), "{}: window {} needs causal: true", path,
             kind.window);
  return kind;
}

// Reads datasets of one case, each checked against the shape the case as a whole calls for.
class CaseReader {
 public:
  explicit CaseReader(const std::string& path) : path_(path), file_(Hdf5File::open(path)) {}

  const Hdf5File& file() const { return file_; }

  std::vector<std::int64_t> shape(const std::string& name, std::size_t dims) const {
    std::vector<std::int64_t> shape = file_.dataset(name).shape;
    LS_REQUIRE(kData, shape.size() == dims, "{}: dataset {} has {} dimensions, not {}", path_, name, shape.size(),
               dims);
    return shape;
  }

  template <class T>
  void read(const std::string& name, const std::vector<std::int64_t>& expected, std::vector<T>& values) const {
    const Hdf5Dataset what = file_.dataset(name);
    LS_REQUIRE(kData, what.shape == expected, "{}: dataset {} is of shape [{}], not [{}]", path_, name,
               fmt::join(what.shape, ", "), fmt::join(expected, ", "));
    values.resize(static_cast<std::size_t>(what.num_elements()));
    file_.read(name, std::span<T>(values));
  }

 private:
  std::string path_;
  Hdf5File file_;
};

void check_documents(const AttentionCase& c, std::int64_t tokens) {
  const std::vector<std::int64_t>& ends = c.problem.cu_seqlens;
  LS_REQUIRE(kData,
             !ends.empty() && ends.front() == 0 && ends.back() == tokens && std::is_sorted(ends.begin(), ends.end()),
             "{}: cu_seqlens must ascend from 0 to the {} tokens of q", c.path, tokens);
}

}  // namespace

AttentionCase read_attention_case(const std::string& path) {
  const CaseReader reader(path);
  const Hdf5File& file = reader.file();
  LS_REQUIRE(kData, file.has_attribute("format") && file.string_attribute("format") == "longspan-attention-case",
             "{}: no attention case (its attribute format is not 'longspan-attention-case')", path);
  const std::int64_t version = file.int64_attribute("version");
  LS_REQUIRE(kData, version == kFormatVersion, "{}: case format version {}; this program reads version {}", path,
             version, kFormatVersion);
  const std::string op = file.string_attribute("op");
  LS_REQUIRE(kUnsupported, op == "softmax", "{}: operator {} is not built; this program has softmax", path, op);

  AttentionCase c;
  c.path = path;
  c.kind = parse_kind(path, file.string_attribute("config"));
  const std::vector<std::int64_t> q = reader.shape("q", 3), k = reader.shape("k", 3), v = reader.shape("v", 3);
  const std::int64_t tokens = q[0], heads = q[1], kv_heads = k[1];
  LS_REQUIRE(kData, kv_heads > 0 && heads > 0 && heads % kv_heads == 0,
             "{}: {} query heads are no multiple of {} key/value heads", path, heads, kv_heads);
  c.head_dim = q[2];
  c.value_dim = v[2];
  c.scale = c.kind.scale.value_or(static_cast<float>(1 / std::sqrt(static_cast<double>(c.head_dim))));
  c.problem.heads = heads;
  c.problem.kv_heads = kv_heads;
  c.problem.causal = c.kind.causal;
  c.problem.window = c.kind.window;
  reader.read("cu_seqlens", reader.shape("cu_seqlens", 1), c.problem.cu_seqlens);
  check_documents(c, tokens);

  const std::vector<std::int64_t> keys{tokens, kv_heads, c.head_dim}, values{tokens, kv_heads, c.value_dim};
  const std::vector<std::int64_t> outputs{tokens, heads, c.value_dim};
  reader.read("q", q, c.q);
  reader.read("k", keys, c.k);
  reader.read("v", values, c.v);
  reader.read("dout", outputs, c.dout);
  reader.read("out", outputs, c.out);
  reader.read("lse", {tokens, heads}, c.lse);
  reader.read("dq", q, c.dq);
  reader.read("dk", keys, c.dk);
  reader.read("dv", values, c.dv);
  if (c.kind.sink) {
    reader.read("extra/sink", {heads}, c.sink);
    reader.read("dextra/sink", {heads}, c.dsink);
  }
  return c;
}

}  // namespace longspan
