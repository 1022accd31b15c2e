// Recognizes data that isn't worth compressing, far faster than by compressing it.
#pragma once

#include <cstddef>
#include <span>

namespace xzfs {

// True if an LZMA encoder would save less than about 1 % of `plain`: media, archives, ciphertext.
// This is a guess. It is more often wrongly false, which only costs time. Always false below 4 KiB,
// as that is too little to judge by. Thread-safe. Throws std::bad_alloc: it allocates up to 32 KiB.
bool LooksIncompressible(std::span<const std::byte> plain);

}  // namespace xzfs
