// Tells about one file or one mount.
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/try.h"
#include "ctl/commands/commands.h"
#include "ctl/files/input.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/shell/json.h"
#include "store/names.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

// "cache.hits: 12": a line for each value.
void PrintLines(Console& console, const Json& json, const std::string& prefix) {
  for (const auto& [key, value] : json.items()) {
    if (value.is_object()) {
      PrintLines(console, value, prefix + key + ".");
    } else {
      const std::string text = value.is_string()
                                   ? value.get<std::string>()
                                   : value.dump(-1, ' ', false, Json::error_handler_t::replace);
      console.Print(prefix + key + ": " + text + "\n");
    }
  }
}

class InfoCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Flag("--json", json_, "machine-readable");
    arguments.Operand("PATH", path_, "a file, in a mount or not, or a mount");
  }

  Status Run(Console& console) override {
    Json document = NewDocument("info");
    PutPath(document, path_);
    if (const auto mount = MountClient::Open(path_)) {
      XZFS_ASSIGN_OR_RETURN(Json stats, mount->Stats());
      stats.erase("schema");
      document["mount"] = std::move(stats);
    } else if (mount.error().code == ENOTCONN || mount.error().code == EACCES) {
      return Failure(mount.error());
    } else if (std::optional<Json> info = FileInfo(path_)) {
      info->erase("schema");
      document["file"] = std::move(*info);
    } else {
      XZFS_ASSIGN_OR_RETURN(document["file"], Describe());
    }
    if (document.contains("/file/damaged"_json_pointer)) {
      console.Error(path_ + ": " + document["file"].value("damaged", ""));
    }
    if (json_) {
      PrintJson(console, document);
      return {};
    }
    document.erase("schema");
    document.erase("command");
    PrintLines(console, document, "");
    return {};
  }

 private:
  // What a mount would answer, for a file outside of one.
  Result<Json> Describe() const {
    XZFS_ASSIGN_OR_RETURN(const Input input, OpenInput(Os::Real(), path_));
    const std::string name = path_.substr(path_.rfind('/') + 1);
    XZFS_ASSIGN_OR_RETURN(const auto compressed, CompressedNameOf(name, *input.stored));
    Json file;
    file["stored_name"] = name;
    file["logical_name"] = compressed ? compressed->logical : StripEscape(name).value_or(name);
    file["state"] = compressed ? "compressed" : "plain";
    file["plain_size"] = input.attributes.st_size;
    file["stored_size"] = input.attributes.st_size;
    file["allocated_bytes"] = input.attributes.st_blocks * 512;
    if (!compressed) {
      return file;
    }
    const Result<BlockIndex> index = ReadIndex(*input.stored, compressed->format);
    if (!index) {
      file["plain_size"] = nullptr;
      file[index.error().kind == ErrorKind::kUnsupported ? "unsupported" : "damaged"] =
          index.error().message;
      return file;
    }
    file["plain_size"] = index->plain_size();
    file["streams"] = index->stream_count();
    file["blocks"] = index->block_count();
    file["largest_block"] = index->largest_block();
    file["check"] = Json::array();
    for (const Check check : index->Checks()) {
      file["check"].push_back(CheckName(check));
    }
    if (index->block_count() != 0) {
      const auto filters = DescribeFilters(*input.stored, *index, index->Block(0));
      file["filters"] = filters ? Json(*filters) : Json(nullptr);
      if (!filters && filters.error().kind == ErrorKind::kUnsupported) {
        file["unsupported"] = filters.error().message;
      }
    }
    return file;
  }

  bool json_ = false;
  std::string path_;
};

}  // namespace

std::unique_ptr<Command> MakeInfoCommand() { return std::make_unique<InfoCommand>(); }

}  // namespace xzfs
