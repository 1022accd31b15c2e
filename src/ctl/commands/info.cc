// Tells about one file, one directory or one mount.
//
// All that is told goes into a document first: the mount's figures, or what the mount says of a
// file
// (`user.xzfs.info`), or the same for a file outside of a mount, which is looked at here. With
// --json the document is printed. Else a page is made of it, which leaves out what only programs
// want.
#include <fmt/core.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/try.h"
#include "base/units.h"
#include "ctl/commands/commands.h"
#include "ctl/files/file_sizes.h"
#include "ctl/files/input.h"
#include "ctl/files/seekability.h"
#include "ctl/mounts/metrics.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/replace/tree.h"
#include "ctl/shell/json.h"
#include "ctl/shell/table.h"
#include "store/names.h"
#include "xz/block_decoder.h"
#include "xz/format.h"

namespace xzfs {
namespace {

constexpr uint64_t kStatBlockBytes = 512;

// What a mount would answer, for a file outside of one.
Result<Json> Describe(const std::string& path) {
  XZFS_ASSIGN_OR_RETURN(const Input input, OpenAsShown(Os::Real(), path));
  const std::string name = path.substr(path.rfind('/') + 1);
  XZFS_ASSIGN_OR_RETURN(const auto compressed, CompressedNameOf(name, *input.stored));
  Json file;
  file["stored_name"] = name;
  file["logical_name"] = compressed ? compressed->logical : StripEscape(name).value_or(name);
  file["state"] = compressed ? "compressed" : "plain";
  file["plain_bytes"] = input.attributes.st_size;
  file["disk_bytes"] = static_cast<uint64_t>(input.attributes.st_blocks) * kStatBlockBytes;
  if (!compressed) {
    return file;
  }
  file["compressed_bytes"] = input.stored->size();
  file["format"] = FormatName(compressed->format);
  const Result<BlockIndex> index = ReadIndex(*input.stored, compressed->format);
  if (!index) {
    file["plain_bytes"] = nullptr;
    file[index.error().kind == ErrorKind::kUnsupported ? "unsupported" : "damaged"] =
        index.error().message;
    return file;
  }
  file["plain_bytes"] = index->plain_size();
  file["ratio"] = RatioJson(input.stored->size(), index->plain_size());
  file["streams"] = index->stream_count();
  file["blocks"] = index->block_count();
  file["largest_block_bytes"] = index->largest_block();
  file["checks"] = Json::array();
  for (const Check check : index->Checks()) {
    file["checks"].push_back(CheckName(check));
  }
  file["filters"] = "";
  if (index->block_count() != 0) {
    const auto filters = DescribeFilters(*input.stored, *index, index->Block(0));
    file["filters"] = filters ? Json(*filters) : Json(nullptr);
    if (!filters && filters.error().kind == ErrorKind::kUnsupported) {
      file["unsupported"] = filters.error().message;
    }
  }
  return file;
}

Json DirectoryOf(Console& console, const std::string& path) {
  FileSizes sum;
  const std::atomic<bool> never{false};
  WalkTrees(
      Os::Real(), {}, {path}, never,
      [&](const FoundFile& file) { sum.Add(SizesOf(console, file)); },
      [&](const std::string& where, const Error& error) {
        console.FileError(where, error.message);
      });
  Json json;
  json["files"] = sum.files;
  json["compressed_files"] = sum.compressed_files;
  json["plain_bytes"] = sum.plain_bytes;
  json["disk_bytes"] = sum.disk_bytes;
  json["saved_bytes"] = sum.saved_bytes();
  return json;
}

// Lines of a page: a title and what is told, if it is told.
class Page {
 public:
  // `heading`: whole lines.
  explicit Page(std::string heading) : text_(std::move(heading)) {}

  void Add(const char* title, const std::string& value) {
    const Table table({{20, Table::Align::kLeft}}, /*indent=*/2);
    text_ += table.Line({title}, Printable(value));
  }
  void AddText(const char* title, const Json& json, const char* key) {
    if (json.contains(key) && json[key].is_string() && !json[key].get<std::string>().empty()) {
      Add(title, json[key].get<std::string>());
    }
  }
  void AddSize(const char* title, const Json& json, const char* key) {
    if (json.contains(key) && json[key].is_number()) {
      const auto bytes = json[key].get<uint64_t>();
      const std::string text = FormatSize(bytes);
      Add(title, text + (text.ends_with(" B") && !text.ends_with("iB")
                             ? ""
                             : " (" + std::to_string(bytes) + " bytes)"));
    }
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::string FilePage(const std::string& path, const Json& file) {
  Page page(Printable(path) + "\n");
  page.AddText("State", file, "state");
  page.AddText("Stays plain", file, "stays_plain");
  page.AddText("Damaged", file, "damaged");
  page.AddText("Not supported", file, "unsupported");
  page.AddText("Stored as", file, file.contains("stored_path") ? "stored_path" : "stored_name");
  page.AddText("A mount shows it as", file, "logical_name");
  page.AddSize("Plain size", file, "plain_bytes");
  page.AddSize("Compressed size", file, "compressed_bytes");
  if (file.contains("ratio") && file["ratio"].is_number()) {
    page.Add("Ratio", fmt::format("{:.3f}", file["ratio"].get<double>()));
  }
  page.AddSize("On the disk", file, "disk_bytes");
  page.AddText("Format", file, "format");
  if (file.contains("blocks")) {
    const auto number = [&](const char* key) {
      return static_cast<uint64_t>(NumberAt(file, std::string("/") + key));
    };
    std::string blocks = std::to_string(number("blocks"));
    if (number("streams") > 1) {
      blocks += " in " + std::to_string(number("streams")) + " Streams";
    }
    page.Add("Blocks", blocks);
    page.Add("Largest Block", FormatSize(number("largest_block_bytes")) + ": " +
                                  Seekability(number("largest_block_bytes")) +
                                  " for reads at any offset");
  }
  std::string checks;
  for (const Json& check : file.value("checks", Json::array())) {
    checks += (checks.empty() ? "" : ", ") + (check.is_string() ? check.get<std::string>() : "");
  }
  if (!checks.empty()) {
    page.Add("Check", checks);
  }
  page.AddText("Filters", file, "filters");
  return page.text();
}

std::string DirectoryPage(const std::string& path, const Json& directory) {
  Page page(Printable(path) + "\n");
  page.AddText("Stored as", directory, "stored_path");
  const auto files = static_cast<uint64_t>(NumberAt(directory, "/files"));
  const auto compressed = static_cast<uint64_t>(NumberAt(directory, "/compressed_files"));
  page.Add("Files below it",
           std::to_string(files) +
               (files == 0 ? "" : ", of these compressed: " + std::to_string(compressed)));
  page.AddSize("Plain size", directory, "plain_bytes");
  page.AddSize("On the disk", directory, "disk_bytes");
  const double saved = NumberAt(directory, "/saved_bytes");
  const double plain = NumberAt(directory, "/plain_bytes");
  if (saved > 0 && plain > 0) {
    page.Add("Saved", FormatSize(static_cast<uint64_t>(saved)) +
                          fmt::format(" ({:.1f} %)", 100 * saved / plain));
  }
  return page.text();
}

std::string MountPage(const std::string& path, const Json& stats) {
  const Json settings = stats.value("settings", Json::object());
  const auto number = [&](const char* pointer) {
    return fmt::format("{:g}", NumberAt(settings, pointer));
  };
  Page page(MountHeading({path, stats}));
  page.Add("Memory", FormatSize(static_cast<uint64_t>(NumberAt(stats, "/budget/used_bytes"))) +
                         " of " +
                         FormatSize(static_cast<uint64_t>(NumberAt(stats, "/budget/total_bytes"))));
  page.Add("Threads", fmt::format("{:.0f} decode, {:.0f} encode", NumberAt(stats, "/threads"),
                                  NumberAt(settings, "/compress_threads")));
  page.Add("Preset", number("/preset") + (settings.value("extreme", false) ? "e" : ""));
  page.Add("Settle", number("/settle_seconds") + " s");
  page.Add("Files known", fmt::format("{:.0f}", NumberAt(stats, "/nodes")));
  const auto pending = static_cast<uint64_t>(NumberAt(stats, "/commits/pending"));
  page.Add("Not compressed yet",
           Counted(pending, "file") + ", " +
               FormatSize(static_cast<uint64_t>(NumberAt(stats, "/commits/pending_bytes"))));
  return page.text() +
         "\nxzfsctl stats shows what it has done, xzfsctl set its settings, xzfsctl du what it "
         "takes.\n";
}

class InfoCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Flag("--json", json_, "machine-readable");
    arguments.Operand("PATH", path_, "a file or a directory, in a mount or not, or a mount");
  }

  Status Run(Console& console) override {
    Json document = NewDocument("info");
    PutPath(document, path_);
    XZFS_RETURN_IF_ERROR(Ask(console, document));
    if (document.contains("/file/damaged"_json_pointer)) {
      console.FileError(path_, path_ + ": " + document["file"].value("damaged", ""));
    }
    if (json_) {
      PrintDocument(console, std::move(document));
    } else if (document.contains("mount")) {
      console.Print(MountPage(path_, document["mount"]));
    } else if (document.contains("directory")) {
      console.Print(DirectoryPage(path_, document["directory"]));
    } else {
      console.Print(FilePage(path_, document["file"]));
    }
    return {};
  }

 private:
  Status Ask(Console& console, Json& document) const {
    const auto mount = MountClient::Open(path_);
    if (mount) {
      XZFS_ASSIGN_OR_RETURN(document["mount"], mount->Stats());
      document["mount"].erase("schema");
      return {};
    }
    if (mount.error().code == ENOTCONN || mount.error().code == EACCES) {
      return Failure(mount.error());
    }
    struct stat st = {};
    if (stat(path_.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) {
      document["directory"] = DirectoryOf(console, path_);
    } else if (std::optional<Json> info = FileInfo(path_)) {
      info->erase("schema");
      document["file"] = std::move(*info);
    } else {
      XZFS_ASSIGN_OR_RETURN(document["file"], Describe(path_));
      return {};
    }
    if (const std::optional<std::string> stored = StoredPath(path_)) {
      document[document.contains("file") ? "file" : "directory"]["stored_path"] = *stored;
    }
    return {};
  }

  bool json_ = false;
  std::string path_;
};

}  // namespace

std::unique_ptr<Command> MakeInfoCommand() { return std::make_unique<InfoCommand>(); }

}  // namespace xzfs
