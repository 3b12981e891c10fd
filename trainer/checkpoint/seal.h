// Seal: the file COMPLETE of a checkpoint folder, which lists every other file with its size and checksum, and itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/core/tensor.h"

namespace longspan {

inline constexpr std::string_view kTensorsFile = "tensors.h5";
inline constexpr std::string_view kStateFile = "state.json";
inline constexpr std::string_view kConfigFile = "config.yaml";
inline constexpr std::string_view kSealFile = "COMPLETE";

// Writes and syncs folder/name. Throws Error(kEnvironment) with the system's reason.
void write_file(const std::string& folder, std::string_view name, std::string_view contents);
// Makes what was written to this file, or the names in this folder, outlast a loss of power.
void sync_path(const std::string& path);

// XXH3-128 in hexadecimal.
std::string checksum(const void* data, std::int64_t num_bytes);

// Syncs the three files of a checkpoint and seals them.
void write_seal(const std::string& folder, std::int64_t step);

enum class Scrutiny : std::uint8_t { kSizes, kContents };
// nullopt: whole. Otherwise one phrase that names the file and what is wrong with it. kContents reads every byte.
std::optional<std::string> find_seal_fault(const std::string& folder, std::int64_t step, Scrutiny scrutiny);

}  // namespace longspan
