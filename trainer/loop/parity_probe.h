// The parity probe: before anything is trained, core attention spread over a context group is compared, forward and
// backward, with the same on one rank, over the run's own documents, masks and precision. A plan is proved right on
// paper; this shows it of what the machine computes. The fault it is for is a shard that attends only to itself, with
// which a model trains, and learns little from far away.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/model_config.h"
#include "parallel/context/executor.h"
#include "parallel/mesh.h"
#include "trainer/launch/rank_device.h"
#include "trainer/loop/run_plan.h"

namespace longspan {

// Rank 0 computes all of them alone, so there are not more: a longer micro-batch is cut to its first tokens.
inline constexpr std::int64_t kMaxProbeTokens = 8192;

// One kind of layer over one packed batch.
struct ParityCase {
  AttentionKind kind;
  AttentionDesc desc;
  std::shared_ptr<const ContextPlan> plan;  // put to the test, so not taken to be right
  std::uint64_t seed = 0;                   // of q, k, v, dout: a token's depend on it and on the token alone
  int num_threads = 1;
};

// The same on every rank.
struct ParityReport {
  std::string figures;  // "softmax causal window 256: out 3.1e-07, lse 9.0e-08, …": relative root mean squares
  std::string fault;    // empty: over the ranks as on one. Else one sentence that names the worst token
};

// Collective over the group. fp32: out within 1e-5, gradients within 3e-5; bf16: 2e-2; lse, which is fp32 in either,
// 1e-5; and no single token ten times as far off, so that few wrong ones among many cannot hide. Memory of its own,
// given back: on rank 0 q, k, v, dout, out and gradients of all tokens. The case's desc names the device's kind.
ParityReport probe_parity(const ParityCase& c, Communicator& group, const RankDevice& device);

// The documents of the first num_tokens tokens: the last may be cut, what comes after it is left out.
std::vector<std::int64_t> first_documents(const std::vector<std::int64_t>& cu_seqlens, std::int64_t num_tokens);

// Probes each distinct kind of layer over the first micro-batch of the first step, planned as the run plans it, in
// every context group. Returns what to print. Throws Error(kInternal) on every rank where one differs. Collective over
// the mesh's world.
std::string require_parity(const Config& config, const RunPlan& plan, const Loader& loader, Mesh& mesh,
                           const RankDevice& device);

}  // namespace longspan
