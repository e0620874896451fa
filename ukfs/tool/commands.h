// The commands of the `ukfs` tool. Each returns its exit code.
#pragma once

#include "ukfs/tool/session.h"

#include <optional>

namespace rump::tool {

using Paths = std::vector<std::string>;

// --- looking (the image is opened for reading only): show.cc ---
struct ListOptions {
    bool all = false, details = false, recursive = false, directory = false, inodes = false;
};
int list(const Common& common, const Paths& paths, const ListOptions& options);
int show_attributes(const Common& common, const Paths& paths, bool follow);
int print_contents(const Common& common, const Paths& paths);
int read_link(const Common& common, const Paths& paths);

// --- images: image.cc ---
int info(const Common& common, bool json);
struct CheckFlags {
    bool repair = false, look = false, force = false, json = false;
};
int check(const Common& common, const CheckFlags& flags);
int newfs(const Common& common, const std::string& size, bool force);
int probe(const Common& common);
int partitions(const Common& common);
int types();

// --- changing: change.cc ---
int remove(const Common& common, const Paths& paths, bool recursive, bool force);
int make_directory(const Common& common, const Paths& paths, bool parents, const std::string& mode);
int remove_directory(const Common& common, const Paths& paths);
/// The last path is the target, as for mv(1) and cp(1).
int move(const Common& common, Paths paths, bool no_replace);
int make_link(const Common& common, Paths paths, bool symbolic);
int change_mode(const Common& common, const std::string& mode, const Paths& paths, bool recursive);
int change_owner(const Common& common, const std::string& owner, const Paths& paths, bool recursive,
                 bool follow);
int touch(const Common& common, const Paths& paths);
int truncate(const Common& common, const std::string& size, const Paths& paths);
int make_node(const Common& common, const std::string& path, const std::string& type,
              std::optional<uint32_t> major, std::optional<uint32_t> minor,
              const std::string& mode);
struct XattrArguments {
    std::string path, name;
    std::optional<std::string> value;
    bool remove = false;
};
int xattr(const Common& common, const XattrArguments& arguments);

// --- copying: copy.cc (within the image), put.cc (in), get.cc (out) ---
struct CopyOptions {
    bool recursive = false, preserve = false;
};
int copy(const Common& common, Paths paths, const CopyOptions& options);
int put(const Common& common, Paths paths);
int get(const Common& common, Paths paths);

} // namespace rump::tool
