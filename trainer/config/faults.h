// Faults: everything that is wrong with an experiment's file and overrides, to be told at once.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace longspan {

// Where a key was given: a line of the file, or an override.
struct Origin {
  std::string text;  // "quickstart.yaml:12: model.hidden", or "--model.hidden"
  int order = 0;     // lines first, then overrides, as they were given
};

class Faults {
 public:
  void add(const Origin& origin, const std::string& what) {
    faults_.push_back({origin.order, origin.text + ": " + what});
  }
  bool empty() const { return faults_.empty(); }
  std::string text() const;  // one line a fault, in the order of the file

 private:
  struct Fault {
    int order;
    std::string text;
  };
  std::vector<Fault> faults_;
};

// Which keys were given where, and which of them are wrong.
struct GivenKeys {
  std::string file;
  std::map<std::string, Origin> origins;
  std::set<std::string> wrong;
};

}  // namespace longspan
