#include "base/log.h"

#include <atomic>
#include <cstdio>
#include <utility>

namespace xzfs {
namespace {

// Outputs are never freed: a thread may be writing to one while it is replaced, which happens once
// or twice in a process, and threads may log while statics are destroyed.
struct Installed {
  std::unique_ptr<LogOutput> output;
  Installed* replaced = nullptr;
};

std::atomic<Installed*>& Current() {
  static std::atomic<Installed*> current{nullptr};
  return current;
}

LogOutput* Output() {
  const Installed* const current = Current().load(std::memory_order_acquire);
  return current == nullptr ? nullptr : current->output.get();
}

void AppendEscaped(unsigned char byte, std::string& out) {
  char text[5];
  std::snprintf(text, sizeof text, "\\x%02x", byte);
  out += text;
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7f) {
      AppendEscaped(byte, out);
      continue;
    }
    // U+0080 to U+009f in UTF-8: terminals obey these as they do escape sequences.
    if (byte == 0xc2 && i + 1 < text.size()) {
      const auto next = static_cast<unsigned char>(text[i + 1]);
      if (next >= 0x80 && next <= 0x9f) {
        AppendEscaped(byte, out);
        AppendEscaped(next, out);
        ++i;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

void SetLogOutput(std::unique_ptr<LogOutput> output) {
  Installed* const next = std::make_unique<Installed>().release();
  next->output = std::move(output);
  next->replaced = Current().exchange(next);
}

void SetLogLevel(LogLevel least) {
  if (LogOutput* const output = Output(); output != nullptr) {
    output->SetLevel(least);
  }
}

bool LogEnabled(LogLevel level) {
  const LogOutput* const output = Output();
  return output != nullptr && output->Wants(level);
}

void Log(LogLevel level, std::string_view message) {
  LogOutput* const output = Output();
  if (output != nullptr && output->Wants(level)) {
    output->Write(level, message);
  }
}

}  // namespace xzfs
