#include "parallel/context/step_runner.h"

#include <algorithm>
#include <ctime>

#include "kernels/ops/layer_ops.h"
#include "kernels/ops/row_codec.h"

namespace longspan {
namespace {

double seconds_of(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

std::int64_t ns_of(std::chrono::steady_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

// Of the calling thread.
double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// "q, kv of step 3".
std::string name_of_group(std::span<const RankProgram::Message> sends, std::span<const RankProgram::Message> receives,
                          int step) {
  std::vector<TransferKind> kinds;
  for (const auto messages : {sends, receives})
    for (const RankProgram::Message& message : messages) kinds.push_back(message.kind);
  std::sort(kinds.begin(), kinds.end());
  kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
  std::string names;
  for (const TransferKind kind : kinds) names += fmt::format("{}{}", names.empty() ? "" : ", ", name_of(kind));
  return fmt::format("{} of step {}", names, step);
}

}  // namespace

StepRunner::StepRunner(const Exec& exec, Communicator& comm, const AttentionDesc& desc, const ContextOptions& options,
                       const RankProgram& program, const OwnPayloads& own, StreamClock* clock)
    : exec_(exec), comm_(comm), desc_(desc), options_(options), program_(program), own_(own), clock_(clock) {
  LS_CHECK((clock == nullptr) == (exec.device == Device::kCpu), "a plan run on {} with the other kind of clock",
           name_of(exec.device));
  const auto book = [&](const char* name, const Slots& slots) {
    std::vector<Tensor> memory;
    for (const std::int64_t num_bytes : slots)
      memory.push_back(
          exec.workspace->allocate(name, MemoryCategory::kTransfers, DType::kF32, {num_bytes / size_of(DType::kF32)}));
    return memory;
  };
  const std::vector<Tensor> operands = book("attention operands on the move", program.operand_slots);
  const std::vector<Tensor> results = book("attention results on the move", program.result_slots);
  for (const TransferBuffer& buffer : program.buffers) {
    const Tensor& slot = (holds_results(buffer.use) ? results : operands)[static_cast<std::size_t>(buffer.slot)];
    const std::int64_t num_bytes = buffer.num_bytes({desc, options.formats});
    LS_CHECK(num_bytes <= slot.num_bytes(), "a buffer of {} bytes in a slot of {}", num_bytes, slot.num_bytes());
    add_buffer(buffer, slot);
  }
}

void StepRunner::add_buffer(const TransferBuffer& buffer, Tensor memory) {
  const WireDesc wire(desc_, options_.formats);
  const std::int64_t heads = buffer.head_end - buffer.head_begin;
  const PayloadPlanes plain_planes = planes_of(buffer.kind, desc_);
  const bool recoded = wire.format_of(buffer.kind) != HopFormat::kPlain;
  Payload plain;
  if (!recoded || buffer.use != BufferUse::kPacked) {
    plain = Payload(memory, plain_planes, buffer.tokens(), heads);
    memory.data = static_cast<std::byte*>(memory.data) + payload_bytes(plain_planes, buffer.tokens(), heads);
  }
  buffers_.push_back(plain);
  wires_.push_back(recoded ? Payload(memory, wire_planes_of(buffer.kind, wire), buffer.tokens(), heads) : plain);
}

std::int64_t StepRunner::workspace_bytes(const RankProgram& program) {
  std::int64_t num_bytes = 0;
  for (const Slots* slots : {&program.operand_slots, &program.result_slots})
    for (const std::int64_t slot : *slots) num_bytes += booked_bytes(slot);
  return num_bytes;
}

Payload StepRunner::at(TransferKind kind, const RankProgram::Place& place) const {
  const Payload& whole = place.buffer == kOwnTokens ? own_[kind] : buffers_[static_cast<std::size_t>(place.buffer)];
  return whole.part(place.begin, place.end, place.head_begin, place.head_end);
}

Payload StepRunner::on_wire(const RankProgram::Message& message) const {
  const RankProgram::Place& place = message.place;
  return wires_[static_cast<std::size_t>(place.buffer)].part(place.begin, place.end, place.head_begin, place.head_end);
}

HopFormat StepRunner::format_of(TransferKind kind) const {
  return WireDesc(desc_, options_.formats).format_of(kind);
}

void StepRunner::encode(TransferKind kind, const Payload& plain, const Payload& wire) const {
  const bool as_bytes = format_of(kind) == HopFormat::kInt8;
  for (int i = 0; i < static_cast<int>(plain.planes().size()); ++i) {
    if (as_bytes)
      encode_rows(exec_, plain[i], wire[2 * i], wire[2 * i + 1]);
    else
      cast(exec_, plain[i], wire[i]);
  }
}

void StepRunner::decode_arrivals(std::span<const RankProgram::Message> receives) {
  for (const RankProgram::Message& message : receives) {
    const HopFormat format = format_of(message.kind);
    if (format == HopFormat::kPlain) continue;
    copy("decode", message.kind, [&] {
      const Payload wire = on_wire(message), plain = at(message.kind, message.place);
      for (int i = 0; i < static_cast<int>(plain.planes().size()); ++i) {
        if (format == HopFormat::kInt8)
          decode_rows(exec_, wire[2 * i], wire[2 * i + 1], plain[i]);
        else
          cast(exec_, wire[i], plain[i]);
      }
    });
  }
}

void StepRunner::encode_departures(std::span<const RankProgram::Message> sends) {
  for (const RankProgram::Message& message : sends)
    if (format_of(message.kind) != HopFormat::kPlain)
      copy("encode", message.kind, [&] { encode(message.kind, at(message.kind, message.place), on_wire(message)); });
}

StepRunner::Posted StepRunner::post(TraceTrack track, std::span<const RankProgram::Message> sends,
                                    std::span<const RankProgram::Message> receives) {
  if (sends.empty() && receives.empty()) return {};
  std::vector<Send> outgoing;
  std::vector<Receive> incoming;
  Posted posted;
  for (const RankProgram::Message& message : sends) {
    const Payload wire = on_wire(message);
    for (const Tensor& plane : wire.planes()) {
      outgoing.push_back({message.peer, plane.data, plane.num_bytes(), plane.device});
      posted.num_bytes += plane.num_bytes();
    }
  }
  for (const RankProgram::Message& message : receives) {
    const Payload wire = on_wire(message);
    for (const Tensor& plane : wire.planes())
      incoming.push_back({message.peer, plane.data, plane.num_bytes(), plane.device});
  }
  stats_.bytes_sent += posted.num_bytes;
  posted.what = name_of_group(sends, receives, step_);
  posted.track = track;
  posted.step = step_;
  posted.begin = Clock::now();
  posted.transfers = comm_.start(outgoing, incoming, posted.what);
  if (options_.overlap == Overlap::kNone) wait(posted);
  return posted;
}

void StepRunner::wait(Posted& posted) {
  if (!posted.transfers) return;
  measure(&ContextStats::exposed_seconds, {.name = posted.what, .track = TraceTrack::kWaiting, .step = step_},
          [&] { posted.transfers->wait(); });
  end(posted);
}

template <class Body>
void StepRunner::measure(double ContextStats::*field, TraceEvent event, Body body) {
  if (clock_) {
    clock_->begin();
    body();
    clock_->end(field, std::move(event));
    return;
  }
  const Clock::time_point begin = Clock::now();
  body();
  const Clock::time_point now = Clock::now();
  stats_.*field += seconds_of(now - begin);
  if (options_.trace) record(std::move(event), begin, now);
}

void StepRunner::test(Posted& posted) {
  if (posted.transfers && posted.transfers->test()) end(posted);
}

void StepRunner::end(Posted& posted) {
  posted.transfers.reset();
  if (!options_.trace || clock_) return;  // a device's stream does not say when transfers beside it end
  record({.name = posted.what, .track = posted.track, .step = posted.step, .num_bytes = posted.num_bytes}, posted.begin,
         Clock::now());
}

void StepRunner::record(TraceEvent event, Clock::time_point begin, Clock::time_point end) {
  event.begin_ns = ns_of(begin);
  event.end_ns = ns_of(end);
  options_.trace->events.push_back(std::move(event));
}

template <class Body>
void StepRunner::copy(std::string_view verb, TransferKind kind, Body body) {
  if (!options_.trace || clock_) return body();
  const Clock::time_point begin = Clock::now();
  body();
  record({.name = fmt::format("{} {}", verb, name_of(kind)), .track = TraceTrack::kCopies, .step = step_}, begin,
         Clock::now());
}

void StepRunner::pack(const RankProgram::Copy& copy) const {
  encode(copy.kind, at(copy.kind, copy.from), on_wire({copy.kind, 0, copy.to}));
}

void StepRunner::clear(int buffer) const {
  const Payload& results = buffers_[static_cast<std::size_t>(buffer)];
  if (program_.buffers[static_cast<std::size_t>(buffer)].kind == TransferKind::kOutput)
    return clear_carry(exec_, results[0], results[1]);
  for (const Tensor& plane : results.planes()) fill_zero(exec_, plane);
}

void StepRunner::merge(const RankProgram::Copy& sum) const {
  const Payload from = at(sum.kind, sum.from), to = at(sum.kind, sum.to);
  if (sum.kind == TransferKind::kOutput) return merge_carry(exec_, to[0], to[1], from[0], from[1]);
  for (std::size_t i = 0; i < to.planes().size(); ++i) {
    const Tensor& plane = to.planes()[i];
    add(exec_, plane, from.planes()[i], plane);
  }
}

void StepRunner::run_tasks(const RankProgram::TaskGroup& group, const Compute& compute) {
  Call call;
  call.desc = desc_;
  call.desc.heads = group.query.head_end - group.query.head_begin;
  call.desc.kv_heads = group.key.head_end - group.key.head_begin;
  const bool backward = static_cast<bool>(own_[TransferKind::kQueryGradient]);
  call.query = at(TransferKind::kQuery, group.query);
  call.query_result = at(backward ? TransferKind::kQueryGradient : TransferKind::kOutput, group.query_result);
  call.key = at(TransferKind::kKeyValue, group.key);
  if (backward) {
    call.output_gradient = at(TransferKind::kOutputGradient, group.output_gradient);
    call.key_result = at(TransferKind::kKeyValueGradient, group.key_result);
  }
  for (const std::vector<AttentionTask>& chunk : group.chunks) {
    call.tasks = chunk;
    std::int64_t pairs = 0;
    for (const AttentionTask& task : chunk) pairs += count_pairs(task);
    stats_.pairs += pairs;
    const double cpu_begin = cpu_seconds();
    measure(&ContextStats::compute_seconds,
            {.name = fmt::format("{} step {}", backward ? "backward" : "forward", step_),
             .track = TraceTrack::kCompute,
             .step = step_,
             .pairs = pairs},
            [&] { compute(call); });
    if (clock_) continue;  // a device needs nobody to look at its transfers
    stats_.compute_cpu_seconds += cpu_seconds() - cpu_begin;
    test(operands_posted_);
    test(results_posted_);
  }
}

ContextStats StepRunner::run(const Compute& compute) {
  for (std::size_t s = 0; s < program_.steps.size(); ++s) {
    const RankProgram::Step& step = program_.steps[s];
    step_ = static_cast<int>(s);
    wait(operands_posted_);
    if (s > 0) decode_arrivals(program_.steps[s - 1].operand_receives);
    for (const RankProgram::Copy& pack : step.packs) copy("pack", pack.kind, [&] { this->pack(pack); });
    operands_posted_ = post(TraceTrack::kOperands, step.operand_sends, step.operand_receives);
    for (const int buffer : step.clears)
      copy("clear", program_.buffers[static_cast<std::size_t>(buffer)].kind, [&] { clear(buffer); });
    for (const RankProgram::TaskGroup& group : step.groups) run_tasks(group, compute);
    wait(results_posted_);
    if (s > 0) decode_arrivals(program_.steps[s - 1].result_receives);
    for (const RankProgram::Copy& sum : step.merges) copy("merge", sum.kind, [&] { merge(sum); });
    encode_departures(step.result_sends);
    results_posted_ = post(TraceTrack::kResults, step.result_sends, step.result_receives);
  }
  return stats_;
}

}  // namespace longspan
