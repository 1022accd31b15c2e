// Whatever LZMA2 data is, our decoder says of it what liblzma says, in whatever steps, and touches
// nothing that isn't its own. See Lzma2Attack for what input is.
#include "fuzz/fuzz_input.h"
#include "support/lzma2_attack.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static xzfs::Lzma2Attack attack;
  const std::string wrong = attack.Try({data, size});
  xzfs::Require(wrong.empty(), wrong.c_str());
  return 0;
}
