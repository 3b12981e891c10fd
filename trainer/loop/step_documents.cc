#include "trainer/loop/step_documents.h"

#include "models/model.h"
#include "trainer/data/random.h"
#include "trainer/loop/local_batch.h"

namespace longspan {
namespace {

// Moves documents to where their work is wanted. Says why most stay, if they do.
std::string place_by_work(const DocumentWork& work, const StepSequences& sequences,
                          std::vector<StepDocuments::Document>& documents) {
  std::vector<DocumentLoad> loads;
  loads.reserve(documents.size());
  for (const auto& document : documents)
    loads.push_back({document.length, work.total(document.length), document.micro_batch});
  Arrangement arrangement = arrange_documents(loads, shape_of(sequences));
  for (std::size_t i = 0; i < documents.size(); ++i) documents[i].micro_batch = arrangement.micro_batch_of[i];
  return std::move(arrangement.why_kept);
}

}  // namespace

DocumentWork::DocumentWork(const ModelConfig& model)
    : model_(model), per_token_(training_flops_per_token(model, 1) - attention_flops_per_token(model, 1)) {}

double DocumentWork::attention(std::int64_t length) const {
  return attention_flops_per_token(model_, length) * static_cast<double>(length);
}

StepSequences sequences_of(const DataConfig& data, const ParallelLayout& layout) {
  StepSequences sequences{.data_ranks = layout.mesh.data,
                          .micro_batches = layout.micro_batches,
                          .sequences_each = layout.sequences_each,
                          .stages = layout.mesh.pipeline,
                          .most_tokens = layout.sequences_each * data.sequence_length};
  if (data.packing == "balanced" && shape_of(sequences).total() > 1) {
    sequences.placement = DocumentPlacement::kByWork;
    sequences.most_tokens = static_cast<std::int64_t>(data.balance_tokens * static_cast<double>(sequences.most_tokens));
  }
  return sequences;
}

ArrangementShape shape_of(const StepSequences& sequences) {
  return {.data_ranks = sequences.data_ranks,
          .micro_batches = sequences.micro_batches,
          .stages = sequences.stages,
          .most_tokens = sequences.most_tokens};
}

StepDocuments documents_of_step(const SequenceLengths& lengths, const DocumentWork& work,
                                const StepSequences& sequences) {
  StepDocuments step;
  for (std::int64_t s = 0; s < shape_of(sequences).total() * sequences.sequences_each; ++s) {
    std::int64_t place = 0;
    for (const std::int64_t length : lengths(sequences.first + s))
      step.documents.push_back({sequences.first + s, place++, length, s / sequences.sequences_each});
  }
  if (sequences.placement == DocumentPlacement::kByWork) step.why_kept = place_by_work(work, sequences, step.documents);
  for (const auto& document : step.documents)
    step.hash = mix_seeds(step.hash, static_cast<std::uint64_t>(document.length),
                          static_cast<std::uint64_t>(document.micro_batch));
  return step;
}

StepDocuments documents_of_step(const Loader& loader, const DocumentWork& work, const StepSequences& sequences) {
  return documents_of_step([&](std::int64_t index) { return loader.lengths_of(index); }, work, sequences);
}

PackedSequence read_micro_batch(const Loader& loader, const StepDocuments& step, std::int64_t micro_batch) {
  std::vector<PackedSequence> parts;
  for (std::size_t i = 0; i < step.documents.size();) {
    const std::int64_t sequence = step.documents[i].sequence;
    std::vector<std::int64_t> places;
    for (; i < step.documents.size() && step.documents[i].sequence == sequence; ++i)
      if (step.documents[i].micro_batch == micro_batch) places.push_back(step.documents[i].place);
    if (!places.empty()) parts.push_back(loader.documents_of(sequence, places));
  }
  return join(parts);
}

}  // namespace longspan
