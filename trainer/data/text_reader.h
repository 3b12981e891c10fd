// TextReader: the documents of text files, JSON lines and folders of them, one after another.
#pragma once

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace longspan {

struct TextOptions {
  // A line that is exactly this parts two documents of a text file; "": blank lines do. nullopt: one document a file.
  std::optional<std::string> separator;
};

class TextReader {
 public:
  // Inputs are files or folders; a folder stands for all its files, hidden ones left out, sorted by path. *.jsonl and
  // *.ndjson hold one JSON object a line with the document under "text". Throws Error(kData) where there is nothing.
  TextReader(const std::vector<std::string>& inputs, TextOptions options);
  // The next document that is not empty; false after the last. Throws Error(kData) naming file and line.
  bool next(std::string& text);
  const std::string& origin() const { return origin_; }  // of that document: "a.jsonl:12"
  std::int64_t bytes_read() const { return bytes_read_; }
  std::int64_t bytes_total() const { return bytes_total_; }

 private:
  bool next_in_file(std::string& text);
  bool next_json_line(std::string& text);
  bool next_between_separators(std::string& text);
  bool next_line(std::string& line);
  bool is_separator(const std::string& line) const;
  void read_whole_file(std::string& text);
  const std::string& path() const { return files_[file_]; }

  TextOptions options_;
  std::vector<std::string> files_;
  std::size_t file_ = 0;
  std::ifstream stream_;
  std::int64_t line_ = 0;
  std::int64_t bytes_read_ = 0, bytes_total_ = 0;
  std::string origin_;
};

}  // namespace longspan
