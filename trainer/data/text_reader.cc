#include "trainer/data/text_reader.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "kernels/core/error.h"

namespace longspan {
namespace {

namespace fs = std::filesystem;

bool is_hidden(const fs::path& path) {
  return path.filename().string().rfind('.', 0) == 0;
}

std::vector<std::string> files_below(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code fault;
  fs::recursive_directory_iterator entry(folder, fault);
  for (; !fault && entry != fs::recursive_directory_iterator(); entry.increment(fault)) {
    if (is_hidden(entry->path())) {
      entry.disable_recursion_pending();
    } else if (entry->is_regular_file()) {
      files.push_back(entry->path().string());
    }
  }
  LS_REQUIRE(kData, !fault, "{}: cannot list the folder: {}", folder, fault.message());
  LS_REQUIRE(kData, !files.empty(), "{}: the folder holds no files", folder);
  std::sort(files.begin(), files.end());
  return files;
}

bool is_json_lines(const std::string& path) {
  const std::string extension = fs::path(path).extension().string();
  return extension == ".jsonl" || extension == ".ndjson";
}

// The library's messages begin with a code in brackets and end with what a reader needs.
std::string json_reason(const nlohmann::json::exception& error) {
  const std::string text = error.what();
  const std::size_t at = text.find("] ");
  return at == std::string::npos ? text : text.substr(at + 2);
}

}  // namespace

TextReader::TextReader(const std::vector<std::string>& inputs, TextOptions options) : options_(std::move(options)) {
  for (const std::string& input : inputs) {
    if (fs::is_directory(input)) {
      const std::vector<std::string> below = files_below(input);
      files_.insert(files_.end(), below.begin(), below.end());
    } else {
      LS_REQUIRE(kData, fs::exists(input), "{}: there is no such file or folder", input);
      files_.push_back(input);
    }
  }
  for (const std::string& file : files_) {
    std::error_code no_size;
    const auto size = fs::file_size(file, no_size);
    if (!no_size) bytes_total_ += static_cast<std::int64_t>(size);
  }
}

bool TextReader::next(std::string& text) {
  for (; file_ < files_.size(); ++file_) {
    if (!stream_.is_open()) {
      errno = 0;
      stream_.open(path(), std::ios::binary);
      LS_REQUIRE(kData, stream_.is_open(), "{}: cannot read: {}", path(), std::strerror(errno));
      line_ = 0;
    }
    if (next_in_file(text)) return true;
    LS_REQUIRE(kData, !stream_.bad(), "{}: cannot read on after line {}", path(), line_);
    stream_.close();
    stream_.clear();
  }
  return false;
}

bool TextReader::next_in_file(std::string& text) {
  if (is_json_lines(path())) return next_json_line(text);
  if (options_.separator) return next_between_separators(text);
  if (stream_.peek() == std::ifstream::traits_type::eof()) return false;
  read_whole_file(text);
  return !text.empty();
}

void TextReader::read_whole_file(std::string& text) {
  text.assign(std::istreambuf_iterator<char>(stream_), {});
  bytes_read_ += static_cast<std::int64_t>(text.size());
  origin_ = path();
}

bool TextReader::next_line(std::string& line) {
  if (!std::getline(stream_, line)) return false;
  ++line_;
  bytes_read_ += static_cast<std::int64_t>(line.size()) + 1;
  return true;
}

bool TextReader::next_json_line(std::string& text) {
  for (std::string line; next_line(line);) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    origin_ = fmt::format("{}:{}", path(), line_);
    nlohmann::json object;
    try {
      object = nlohmann::json::parse(line);
    } catch (const nlohmann::json::exception& error) {
      fail(ErrorKind::kData, "{}: not JSON: {}", origin_, json_reason(error));
    }
    LS_REQUIRE(kData, object.is_object() && object.contains("text") && object["text"].is_string(),
               "{}: expected an object with a string under \"text\"", origin_);
    text = object["text"].get<std::string>();
    if (!text.empty()) return true;
  }
  return false;
}

bool TextReader::is_separator(const std::string& line) const {
  const bool returns = !line.empty() && line.back() == '\r';
  const std::string_view bare(line.data(), line.size() - (returns ? 1 : 0));
  if (options_.separator->empty()) return bare.find_first_not_of(" \t") == std::string_view::npos;
  return bare == *options_.separator;
}

bool TextReader::next_between_separators(std::string& text) {
  text.clear();
  for (std::string line; next_line(line);) {
    if (is_separator(line)) {
      if (!text.empty()) return true;
      continue;
    }
    if (text.empty()) origin_ = fmt::format("{}:{}", path(), line_);
    text += line;
    if (!stream_.eof()) text += '\n';  // the last line may have no end
  }
  return !text.empty();
}

}  // namespace longspan
