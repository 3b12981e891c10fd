// The parts of a Model, as training and generation both use them.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "models/model.h"
#include "models/parameters.h"
#include "models/rope.h"
#include "models/split_layer.h"
#include "models/stage_shape.h"

namespace longspan {

struct Model::Impl {
  // What one of the rank's stages computes with.
  struct Stage {
    StageSpan span;
    std::vector<std::unique_ptr<SplitLayer>> layers;
    // Places in units(): of each layer; of the embedding and the head, where the stage has them.
    std::vector<std::int64_t> layer_units;
    std::int64_t embedding_unit = -1, head_unit = -1;
  };

  Impl(const ModelConfig& model_config, DType model_precision, Gradients gradients, Arena& weights,
       std::vector<StageSpan> stage_spans, std::optional<std::vector<FlatRange>> owned);

  const Stage& stage(int index) const;
  // The only stage of a whole model; throws Error(kUsage), naming `what` it is for, where there are more or less.
  const Stage& whole(std::string_view what) const;
  // Throws Error(kInternal) unless all that a stage reads is there and of one size.
  void check(const StageCall& call, const StageSpan& span) const;

  StageShape shape_of(const StageSpan& span, std::int64_t tokens) const { return {config, span, precision, tokens}; }
  // Fills `tables` for these positions.
  void fill_rotary_tables(const Exec& exec, const Tensor& positions, const RotaryTables& tables) const;
  // normed = final norm of x, may alias it; rstd absent: not saved.
  void normalize(const Exec& exec, const Tensor& x, const Tensor& normed, const Tensor& rstd) const;
  ContextAttention& attention_of(const StageCall& call, std::int64_t layer) const;  // layer of the whole model
  // Tells of the head's weights; where the stage does not embed and the embedding is another stage's, of that too.
  void before_head(const Stage& stage, WeightWatch& watch) const;

  // The offload that the config asks for, made when first needed; null: none.
  ActivationOffload* offload_on(const Exec& exec);

  ModelConfig config;
  DType precision;
  std::vector<StageSpan> spans;
  bool sharded;
  ParameterStore store;
  std::vector<Stage> stages;
  // Absent where no stage has them; the head is the embedding where tied.
  Weight embedding, final_norm, head;
  std::int64_t tied_unit = -1;  // the embedding's where a stage embeds and the head shares its weights
  RopeFrequencies rope;
  std::unique_ptr<ActivationOffload> offload;
};

}  // namespace longspan
