// What a command takes: its options and operands.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "xzfs/result.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace xzfs {

// Each call declares one; `names` look like "-k,--keep". The value is in the caller's object and
// holds the default until Parse sets it. If an option is given twice, the last one counts. Not
// thread-safe.
class Arguments {
 public:
  Arguments(std::string_view command, std::string_view summary, std::string_view example);
  ~Arguments();
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  void Flag(const std::string& names, bool& value, const std::string& help);
  // How many times it was given.
  void Count(const std::string& names, unsigned& count, const std::string& help);
  // `placeholder`: what the value is called in the help.
  void Text(const std::string& names, const std::string& placeholder, std::string& value,
            const std::string& help);
  // May be given several times.
  void Texts(const std::string& names, const std::string& placeholder,
             std::vector<std::string>& values, const std::string& help);
  // In bytes, see base/units.h.
  void Size(const std::string& names, uint64_t& bytes, const std::string& help);
  // In seconds, see base/units.h.
  void Duration(const std::string& names, std::optional<double>& seconds, const std::string& help);
  void Number(const std::string& names, unsigned& number, unsigned least, unsigned most,
              const std::string& help);
  // A number up to 100, with or without a % after it.
  void Percent(const std::string& names, double& percent, const std::string& help);
  void Choice(const std::string& names, std::string& value, const std::vector<std::string>& choices,
              const std::string& help);
  // xz's -0 to -9.
  void Preset(unsigned& preset, const std::string& help);
  // What is neither an option nor an option's value. Exactly one ...
  void Operand(const std::string& placeholder, std::string& value, const std::string& help);
  // ... or one or more ...
  void Operands(const std::string& placeholder, std::vector<std::string>& values,
                const std::string& help);
  // ... or at most one; empty: none ...
  void OptionalOperand(const std::string& placeholder, std::string& value, const std::string& help);
  // ... or any number.
  void OptionalOperands(const std::string& placeholder, std::vector<std::string>& values,
                        const std::string& help);

  // Sets all values. Errors: EINVAL with one line for the user.
  Status Parse(std::vector<std::string> words);
  std::string Help() const;
  const std::string& command() const { return command_; }
  bool wants_help() const { return wants_help_; }

  // What was declared, for completion.
  struct Described {
    std::vector<std::string> names;  // "-k", "--keep"
    std::string placeholder;         // of its value; empty: it takes none
    std::string help;
  };
  std::vector<Described> Options() const;
  // Of the operands, in their order.
  std::vector<std::string> OperandNames() const;

  // Whether an option ("--keep", "-k") takes a value.
  enum class Kind { kUnknown, kFlag, kWithValue };
  Kind KindOf(const std::string& name) const;

 private:
  // The long option that the user may have meant; "" if there is none.
  std::string NearestOption(const std::string& word) const;
  CLI::Option* Value(const std::string& names, const std::string& placeholder,
                     const std::string& help, std::function<Status(const std::string&)> set);

  const std::string command_;
  const std::unique_ptr<CLI::App> app_;
  bool wants_help_ = false;
};

}  // namespace xzfs
