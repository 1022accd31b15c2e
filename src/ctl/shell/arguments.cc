// CLI11 splits the line and writes the help. Arguments decides which values are valid, as CLI11's
// own readers take "-1", "KiB" and "010" for sizes. An option hands its text to a function that
// checks it and sets the value. Parse turns CLI11's exceptions into one line for the user.
#include "ctl/shell/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>
#include <utility>

#include "base/spelling.h"
#include "base/try.h"
#include "base/units.h"

namespace xzfs {
namespace {

// Room for "--block-size SIZE" and the like.
constexpr size_t kHelpColumn = 28;

Result<double> ParseNumber(std::string_view text, double least, double most) {
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size() ||
      !(number >= least && number <= most)) {
    return Fail(EINVAL, "'" + std::string(text) + "' is not a number from " +
                            std::to_string(static_cast<int64_t>(least)) + " to " +
                            std::to_string(static_cast<int64_t>(most)));
  }
  return number;
}

std::string Joined(const std::vector<std::string>& words, const std::string& between) {
  std::string text;
  for (const std::string& word : words) {
    text += (text.empty() ? "" : between) + word;
  }
  return text;
}

}  // namespace

Arguments::Arguments(std::string_view command, std::string_view summary, std::string_view example)
    : command_(command),
      app_(std::make_unique<CLI::App>(std::string(summary), "xzfsctl " + command_)) {
  app_->set_help_flag();
  app_->add_flag("-h,--help", wants_help_, "this help");
  app_->get_formatter()->column_width(kHelpColumn);
  app_->footer("Example:\n" + std::string(example));
}

Arguments::~Arguments() = default;

CLI::Option* Arguments::Value(const std::string& names, const std::string& placeholder,
                              const std::string& help,
                              std::function<Status(const std::string&)> set) {
  const auto checked = [names, set = std::move(set)](const std::string& text) {
    if (const Status status = set(text); !status) {
      throw CLI::ValidationError(names, status.error().message);
    }
  };
  return app_->add_option_function<std::string>(names, checked, help)
      ->type_name(placeholder)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

void Arguments::Flag(const std::string& names, bool& value, const std::string& help) {
  app_->add_flag(names, value, help)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

void Arguments::Count(const std::string& names, unsigned& count, const std::string& help) {
  app_->add_flag_function(
      names, [&count](std::int64_t given) { count = static_cast<unsigned>(given); }, help);
}

void Arguments::Text(const std::string& names, const std::string& placeholder, std::string& value,
                     const std::string& help) {
  Value(names, placeholder, help, [&value](const std::string& text) -> Status {
    value = text;
    return {};
  });
}

void Arguments::Texts(const std::string& names, const std::string& placeholder,
                      std::vector<std::string>& values, const std::string& help) {
  app_->add_option(names, values, help)->type_name(placeholder)->allow_extra_args(false);
}

void Arguments::Size(const std::string& names, uint64_t& bytes, const std::string& help) {
  Value(names, "SIZE", help, [&bytes](const std::string& text) -> Status {
    XZFS_ASSIGN_OR_RETURN(bytes, ParseSize(text));
    return {};
  });
}

void Arguments::Duration(const std::string& names, std::optional<double>& seconds,
                         const std::string& help) {
  Value(names, "TIME", help, [&seconds](const std::string& text) -> Status {
    XZFS_ASSIGN_OR_RETURN(seconds, ParseDuration(text));
    return {};
  });
}

void Arguments::Number(const std::string& names, unsigned& number, unsigned least, unsigned most,
                       const std::string& help) {
  Value(names, "N", help, [&number, least, most](const std::string& text) -> Status {
    XZFS_ASSIGN_OR_RETURN(const double parsed, ParseNumber(text, least, most));
    number = static_cast<unsigned>(parsed);
    if (text != std::to_string(number)) {
      return Fail(EINVAL, "'" + text + "' is not a whole number");
    }
    return {};
  });
}

void Arguments::Percent(const std::string& names, double& percent, const std::string& help) {
  Value(names, "PERCENT", help, [&percent](const std::string& text) -> Status {
    const std::string_view number(text.data(), text.size() - (text.ends_with('%') ? 1 : 0));
    XZFS_ASSIGN_OR_RETURN(percent, ParseNumber(number, 0, 100));
    return {};
  });
}

void Arguments::Choice(const std::string& names, std::string& value,
                       const std::vector<std::string>& choices, const std::string& help) {
  Value(names, Joined(choices, "|"), help, [&value, choices](const std::string& text) -> Status {
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
      return Fail(EINVAL, "'" + text + "' is not one of " + Joined(choices, ", "));
    }
    value = text;
    return {};
  });
}

void Arguments::Preset(unsigned& preset, const std::string& help) {
  // One option in the help; the others are the same.
  for (unsigned digit = 0; digit <= 9; ++digit) {
    app_->add_flag_callback(
            "-" + std::to_string(digit), [&preset, digit] { preset = digit; },
            digit == 0 ? help + ": -0 to -9" : "a preset of xz")
        ->group(digit == 0 ? "Options" : "");
  }
}

void Arguments::Operand(const std::string& placeholder, std::string& value,
                        const std::string& help) {
  app_->add_option(placeholder, value, help)->type_name("")->required();
}

void Arguments::Operands(const std::string& placeholder, std::vector<std::string>& values,
                         const std::string& help) {
  app_->add_option(placeholder, values, help)->type_name("")->required();
}

void Arguments::OptionalOperand(const std::string& placeholder, std::string& value,
                                const std::string& help) {
  app_->add_option(placeholder, value, help)->type_name("");
}

void Arguments::OptionalOperands(const std::string& placeholder, std::vector<std::string>& values,
                                 const std::string& help) {
  app_->add_option(placeholder, values, help)->type_name("");
}

Status Arguments::Parse(std::vector<std::string> words) {
  const bool help = std::any_of(words.begin(), std::find(words.begin(), words.end(), "--"),
                                [](const auto& word) { return word == "-h" || word == "--help"; });
  if (help) {  // what else is on the line need not be right
    wants_help_ = true;
    return {};
  }
  std::reverse(words.begin(), words.end());  // as CLI11 takes them
  try {
    app_->parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    // CLI11 looks for what is missing before it looks for what is too much. But a user who mistypes
    // an option wants to know about that.
    const std::vector<std::string> unknown = app_->remaining();
    std::string why = unknown.empty() ? error.what() : CLI::ExtrasError(unknown).what();
    std::replace(why.begin(), why.end(), '\n', ' ');
    const std::string nearest = unknown.empty() ? "" : NearestOption(unknown.front());
    return Fail(EINVAL, command_ + ": " + why + " (" +
                            (nearest.empty() ? "" : "did you mean " + nearest + "? ") +
                            "see xzfsctl " + command_ + " --help)");
  }
  return {};
}

std::string Arguments::NearestOption(const std::string& word) const {
  std::vector<std::string> names;
  for (const CLI::Option* option : app_->get_options()) {
    for (const std::string& name : option->get_lnames()) {
      names.push_back("--" + name);
    }
  }
  const std::vector<std::string_view> known(names.begin(), names.end());
  const std::string name = word.substr(0, word.find('='));
  return name.starts_with("--") ? std::string(NearestWord(name, known)) : "";
}

std::string Arguments::Help() const { return app_->help(); }

std::vector<Arguments::Described> Arguments::Options() const {
  std::vector<Described> options;
  for (const CLI::Option* option : std::as_const(*app_).get_options()) {
    Described described;
    for (const std::string& name : option->get_snames()) {
      described.names.push_back("-" + name);
    }
    for (const std::string& name : option->get_lnames()) {
      described.names.push_back("--" + name);
    }
    described.help = option->get_description();
    if (option->get_items_expected_max() != 0) {
      described.placeholder = option->get_type_name();
    }
    if (!described.names.empty()) {
      options.push_back(std::move(described));
    }
  }
  return options;
}

std::vector<std::string> Arguments::OperandNames() const {
  std::vector<std::string> names;
  for (const CLI::Option* option : std::as_const(*app_).get_options()) {
    if (option->get_positional()) {
      names.push_back(option->get_name(/*positional=*/true));
    }
  }
  return names;
}

Arguments::Kind Arguments::KindOf(const std::string& name) const {
  const CLI::Option* option = app_->get_option_no_throw(name);
  if (option == nullptr) {
    return Kind::kUnknown;
  }
  return option->get_items_expected_max() == 0 ? Kind::kFlag : Kind::kWithValue;
}

}  // namespace xzfs
