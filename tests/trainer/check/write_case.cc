#include "tests/trainer/check/write_case.h"

#include <cmath>
#include <span>
#include <type_traits>

namespace longspan {
namespace {

template <class T>
constexpr Hdf5Type kTypeOf = std::is_same_v<T, float> ? Hdf5Type::kFloat32 : Hdf5Type::kFloat64;

// As many rows of heads x dim as there are values for.
template <class T>
void put(Hdf5File& file, const std::string& name, std::int64_t heads, std::int64_t dim, const std::vector<T>& values) {
  file.create_dataset(name, {kTypeOf<T>, {static_cast<std::int64_t>(values.size()) / (heads * dim), heads, dim}});
  file.write(name, std::span<const T>(values));
}

}  // namespace

AttentionCase diagonal_case(std::int64_t tokens) {
  AttentionCase c;
  c.kind.window = 1;
  c.problem = {{0, tokens}, 2, 1, true, 1};
  c.head_dim = 4;
  c.value_dim = 3;
  c.scale = 0.5f;
  const auto wave = [](std::int64_t i) { return static_cast<float>(std::sin(0.7 * static_cast<double>(i) + 0.2)); };
  for (std::int64_t i = 0; i < tokens * 2 * 4; ++i) c.q.push_back(wave(i));
  for (std::int64_t i = 0; i < tokens * 4; ++i) c.k.push_back(wave(3 * i + 1));
  for (std::int64_t i = 0; i < tokens * 3; ++i) c.v.push_back(wave(5 * i + 2));
  for (std::int64_t i = 0; i < tokens * 2 * 3; ++i) c.dout.push_back(wave(7 * i + 3));
  c.dv.assign(c.v.size(), 0);
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t h = 0; h < 2; ++h) {
      double score = 0;
      for (std::int64_t d = 0; d < 4; ++d) score += double{c.q[(t * 2 + h) * 4 + d]} * c.k[t * 4 + d];
      c.lse.push_back(c.scale * score);
      for (std::int64_t d = 0; d < 3; ++d) {
        c.out.push_back(c.v[t * 3 + d]);
        c.dv[t * 3 + d] += c.dout[(t * 2 + h) * 3 + d];
      }
    }
  }
  c.dq.assign(c.q.size(), 0);
  c.dk.assign(c.k.size(), 0);
  return c;
}

void write_case(const std::string& path, const AttentionCase& c, const CaseFileText& text) {
  Hdf5File file = Hdf5File::create(path);
  file.set_attribute("format", text.format);
  file.set_attribute("version", text.version);
  file.set_attribute("op", text.op);
  file.set_attribute("config", text.config);
  const std::int64_t heads = c.problem.heads, kv_heads = c.problem.kv_heads, D = c.head_dim, V = c.value_dim;
  file.create_dataset("cu_seqlens", {Hdf5Type::kInt64, {static_cast<std::int64_t>(c.problem.cu_seqlens.size())}});
  file.write("cu_seqlens", std::span<const std::int64_t>(c.problem.cu_seqlens));
  put(file, "q", heads, D, c.q);
  put(file, "k", kv_heads, D, c.k);
  put(file, "v", kv_heads, V, c.v);
  put(file, "dout", heads, V, c.dout);
  put(file, "out", heads, V, c.out);
  put(file, "dq", heads, D, c.dq);
  put(file, "dk", kv_heads, D, c.dk);
  put(file, "dv", kv_heads, V, c.dv);
  file.create_dataset("lse", {Hdf5Type::kFloat64, {static_cast<std::int64_t>(c.lse.size()) / heads, heads}});
  file.write("lse", std::span<const double>(c.lse));
  file.close();
}

}  // namespace longspan
