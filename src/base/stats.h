// Live figures of one mount.
#pragma once

#include <atomic>
#include <cstdint>

namespace xzfs {

// A figure that only counts. Its operations are relaxed: it orders and guards nothing.
class Counter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t Get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Every module adds to the figures it owns. Thread-safe.
struct Stats {
  Counter cache_hits;           // reads of a unit that was in the cache
  Counter cache_misses;         // reads that had to decode
  Counter single_flight_joins;  // reads that waited for another reader's decode of the same unit
  Counter evictions;            // units dropped to make room
  Counter handed_over;          // units dropped because the kernel's page cache has all of them
  Counter decoded_bytes;        // plain bytes that came out of decoders, useful or not
  Counter served_bytes;         // plain bytes handed to readers
  Counter ahead_useful;         // units decoded ahead that were then read
  Counter ahead_wasted;         // units decoded ahead that were dropped unread
  Counter files_ahead;          // small files decoded before they were opened
  Counter files_ahead_useful;   // of these, opened while they were ahead
  Counter giant_restarts;       // giant Blocks begun (again) at their start
  Counter giant_points;         // restart points saved
  Counter giant_restores;       // restart points gone back to
  Counter decoder_fallbacks;    // Blocks that our decoder took for damaged, and liblzma was asked
  Counter decoder_wrong;        // of these, Blocks that liblzma decodes
  Counter damaged_blocks;       // Blocks found damaged, each once
  Counter damaged_files;        // files whose Index can't be read, each once while known
  Counter commits_done;
  Counter commits_failed;       // attempts
  Counter commits_cancelled;    // attempts: the file was changed during the commit
  Counter commits_in_vain;      // attempts: the file would not shrink, so it stays plain
  Counter commit_plain_bytes;   // of files that were committed
  Counter commit_stored_bytes;  // what they take when compressed
  Counter blocks_encoded;       // by commits
  Counter blocks_stored;        // of these, stored as they are, because they don't shrink
  Counter blocks_reused;        // copied from the file that was replaced
  Counter cold_files;           // of those commits, the ones that the search for cold files made
  Counter cold_plain_bytes;
  Counter cold_stored_bytes;
  Counter overlays_lost;  // put into lost+found
  Counter syncs_failed;   // files, each until it was written again
  Counter collisions;     // stored names that fight for one logical name, each once
};

}  // namespace xzfs
