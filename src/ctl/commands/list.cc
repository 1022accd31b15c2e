// The columns of xz -l, and how well a file can be read at any offset.
//
// Nearly all that is shown comes from a file's Index, so an .xz file isn't decoded. (A legacy file
// may have to be, for its size.) Only `--verbose` reads more: the Block Header of each Block, for
// its filters. A Block takes a multiple of 4 bytes in the file, which the size in the Index leaves
// out. A read at any offset decodes at worst the largest Block: `Seekability` judges a file by
// that.
//
// Without --json each file is printed as soon as it is read. The totals follow if several files
// were printed. With --json all files go into one document, which is printed at the end. A file
// that fails is reported on stderr, and with --json among the errors; the next one is taken.
#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/units.h"
#include "ctl/commands/commands.h"
#include "ctl/files/input.h"
#include "ctl/files/seekability.h"
#include "ctl/shell/json.h"
#include "ctl/shell/table.h"
#include "xz/block_decoder.h"
#include "xz/format.h"

namespace xzfs {
namespace {

// As xz -l: compressed / uncompressed.
std::string Ratio(uint64_t stored, uint64_t plain) {
  const double ratio = plain == 0 ? 0 : static_cast<double>(stored) / static_cast<double>(plain);
  if (plain == 0 || ratio > 9.999) {
    return "---";
  }
  return fmt::format("{:.3f}", ratio);
}

std::string ChecksOf(const BlockIndex& index) {
  std::string names;
  for (const Check check : index.Checks()) {
    names += names.empty() ? "" : ",";
    names += CheckName(check);
  }
  return names.empty() ? "None" : names;
}

std::string Filters(const Input& input, const BlockIndex& index, const BlockInfo& block) {
  const Result<std::string> filters = DescribeFilters(*input.stored, index, block);
  return filters ? *filters : "unreadable: " + filters.error().message;
}

// The sums of all lines.
struct Totals {
  uint64_t files = 0, streams = 0, blocks = 0, stored = 0, plain = 0, largest = 0;
};

class ListCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Flag("-v,--verbose", verbose_, "show each Block, counted from 0");
    arguments.Flag("--json", json_, "machine-readable, sizes in bytes");
    arguments.Operands("FILE", files_, "compressed files, also in a mount");
  }

  Status Run(Console& console) override {
    Json document = NewDocument("list");
    document["files"] = Json::array();
    for (const std::string& path : files_) {
      const Result<Input> input = OpenInput(Os::Real(), path);
      const Result<BlockIndex> index =
          input ? ReadIndexOf(*input) : Result<BlockIndex>(Failure(input.error()));
      if (!index) {
        console.FileError(path, index.error().message);
        continue;
      }
      if (input->is_edited) {
        console.Note(path + " has changes that are not compressed yet and not in these figures");
      }
      if (json_) {
        document["files"].push_back(JsonOf(*input, *index));
      } else {
        PrintFile(console, *input, *index);
      }
    }
    if (json_) {
      PrintDocument(console, std::move(document));
    } else if (totals_.files > 1) {
      PrintTotals(console);
    }
    return {};
  }

 private:
  void PrintHeading(Console& console) {
    console.Print(files_table_.Line(
        {"Strms", "Blocks", "Compressed", "Uncompressed", "Ratio", "Check", "Largest", "Seek"},
        "Filename"));
  }

  void PrintFile(Console& console, const Input& input, const BlockIndex& index) {
    const uint64_t stored = input.stored->size();
    if (totals_.files == 0 || verbose_) {
      console.Print(totals_.files == 0 ? "" : "\n");
      PrintHeading(console);
    }
    ++totals_.files;
    totals_.streams += index.stream_count();
    totals_.blocks += index.block_count();
    totals_.stored += stored;
    totals_.plain += index.plain_size();
    totals_.largest = std::max(totals_.largest, index.largest_block());
    console.Print(files_table_.Line(
        {std::to_string(index.stream_count()), std::to_string(index.block_count()),
         FormatSize(stored), FormatSize(index.plain_size()), Ratio(stored, index.plain_size()),
         ChecksOf(index), FormatSize(index.largest_block()), Seekability(index.largest_block())},
        Printable(input.path)));
    if (verbose_) {
      PrintBlocks(console, input, index);
    }
  }

  static void PrintBlocks(Console& console, const Input& input, const BlockIndex& index) {
    const Table table({{7}, {15}, {15}, {15}, {15}, {6}, {7, Table::Align::kLeft}}, /*indent=*/2);
    console.Print(table.Line(
        {"Block", "CompOffset", "UncompOffset", "CompSize", "UncompSize", "Ratio", "Check"},
        "Filters"));
    for (uint64_t number = 0; number < index.block_count(); ++number) {
      const BlockInfo block = index.Block(number);
      const uint64_t stored = (block.unpadded_size + 3) / 4 * 4;
      console.Print(table.Line({std::to_string(number), std::to_string(block.compressed_offset),
                                std::to_string(block.plain_offset), std::to_string(stored),
                                std::to_string(block.plain_size), Ratio(stored, block.plain_size),
                                CheckName(block.check)},
                               Filters(input, index, block)));
    }
  }

  void PrintTotals(Console& console) {
    console.Print(std::string(75, '-') + "\n");
    if (verbose_) {
      PrintHeading(console);
    }
    console.Print(
        files_table_.Line({std::to_string(totals_.streams), std::to_string(totals_.blocks),
                           FormatSize(totals_.stored), FormatSize(totals_.plain),
                           Ratio(totals_.stored, totals_.plain), "", FormatSize(totals_.largest),
                           Seekability(totals_.largest)},
                          std::to_string(totals_.files) + " files"));
  }

  Json JsonOf(const Input& input, const BlockIndex& index) const {
    Json file;
    PutPath(file, input.path);
    file["format"] = FormatName(index.format());
    file["streams"] = index.stream_count();
    file["blocks"] = index.block_count();
    file["compressed_bytes"] = input.stored->size();
    file["plain_bytes"] = index.plain_size();
    file["ratio"] = RatioJson(input.stored->size(), index.plain_size());
    file["largest_block_bytes"] = index.largest_block();
    file["seek"] = Seekability(index.largest_block());
    file["checks"] = Json::array();
    for (const Check check : index.Checks()) {
      file["checks"].push_back(CheckName(check));
    }
    for (uint64_t number = 0; verbose_ && number < index.block_count(); ++number) {
      const BlockInfo block = index.Block(number);
      file["block_list"].push_back({{"number", number},
                                    {"compressed_offset", block.compressed_offset},
                                    {"plain_offset", block.plain_offset},
                                    {"compressed_bytes", (block.unpadded_size + 3) / 4 * 4},
                                    {"plain_bytes", block.plain_size},
                                    {"check", CheckName(block.check)},
                                    {"filters", Filters(input, index, block)}});
    }
    return file;
  }

  bool verbose_ = false;
  bool json_ = false;
  std::vector<std::string> files_;
  const Table files_table_{{{5}, {7}, {11}, {12}, {6}, {7}, {11}, {4}}};
  Totals totals_;
};

}  // namespace

std::unique_ptr<Command> MakeListCommand() { return std::make_unique<ListCommand>(); }

}  // namespace xzfs
