// Compares what an image shows, mounted in this process, with its manifest: every name and every
// key that the manifest has (paths, types, owners, sizes, times, targets, devices, flags,
// contents).
//
// usage: verify_tree [--write|--change] [--raw] [-o OPTIONS] IMAGE MANIFEST
//     --write:  mounted for writing over a copy in memory (a log is replayed for good)
//     --change: before that, work is done in a new folder; check finds nothing afterwards
//     --raw:    without replaying a log
//     -o:       mount options of the file system's own, with commas between them
// exit 0: the same; 1: differences, listed; 2: usage or no mount; 3: the image file has changed
#include "tests/images/sha256.h"

#include "kernel/fs/registry.h"
#include "kernel/kern/kernel.h"
#include "kernel/sys/mount_options.h"
#include "kernel/vfs/vfs_ops.h"

#include "hostshim/file_device.h"
#include "hostshim/overlay_device.h"

#include "tests/conformance/borrowed_device.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <fstream>
#include <map>

using namespace rump;
using json = nlohmann::json;

namespace {

int differences = 0;
constexpr const char* work_folder = "work of the test";

void differ(const std::string& path, const std::string& what) {
    if (++differences <= 40) std::printf("%s: %s\n", path.c_str(), what.c_str());
}

std::string from_hex(const std::string& hex) {
    std::string out;
    for (size_t i = 0; i + 1 < hex.size(); i += 2)
        out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    return out;
}

std::string text_of(const json& entry, const char* key) {
    const std::string hex = std::string(key) + "_hex";
    return entry.contains(hex) ? from_hex(entry[hex]) : entry[key].get<std::string>();
}

std::string hash_of(Vnode& vnode, uint64_t offset, uint64_t length) {
    test::Sha256 sum;
    std::vector<std::byte> buffer(1 << 20);
    while (length > 0) {
        auto n = vfs::read(vnode, offset,
                           std::span(buffer).first(std::min<uint64_t>(length, buffer.size())));
        if (!n) return "error: " + std::string(errno_name(n.error()));
        if (*n == 0) break;
        sum.update(std::span(buffer).first(*n));
        offset += *n;
        length -= *n;
    }
    return sum.hex();
}

int64_t ns(const Timespec& t) { return t.sec * 1'000'000'000 + t.nsec; }

uint32_t bsd_flags(FileFlags f) {
    uint32_t out = 0;
    const auto add = [&](FileFlags ours, uint32_t bsd) {
        if ((f & ours) != 0) out |= bsd;
    };
    add(file_flag::nodump, 1);
    add(file_flag::user_immutable, 2);
    add(file_flag::user_append, 4);
    add(file_flag::opaque, 8);
    add(file_flag::archived, 0x10000);
    add(file_flag::immutable, 0x20000);
    add(file_flag::append, 0x40000);
    add(file_flag::nounlink, 0x100000);
    add(file_flag::snapshot, 0x200000);
    return out;
}

const char* type_name(FileType t) {
    switch (t) {
    case FileType::dir:
        return "dir";
    case FileType::reg:
        return "file";
    case FileType::lnk:
        return "symlink";
    case FileType::chr:
        return "char";
    case FileType::blk:
        return "block";
    case FileType::fifo:
        return "fifo";
    case FileType::sock:
        return "socket";
    default:
        return "unknown";
    }
}

/// What formats without owners store is as each system shows it: modes, links, numbers, blocks,
/// what a root has, and times to the grain.
void leave_out_what_is_not_stored(const Attr& attr, json& want) {
    for (const char* key : {"mode", "uid", "gid", "nlink", "ctime", "blocks", "ino"})
        want.erase(key);
    if (attr.type == FileType::dir) want.erase("size");
    if (want["path"] == ".") want.erase("mtime");
    if (want.contains("mtime") &&
        std::abs(want["mtime"].get<int64_t>() - ns(attr.mtime)) <= 2'000'000'000)
        want.erase("mtime");
}

void compare(const std::string& path, Vnode& vnode, json want) {
    const auto got = vfs::getattr(vnode);
    if (!got) return differ(path, "getattr fails");
    const Attr& a = *got;
    if (!vnode.mount().traits().owners) leave_out_what_is_not_stored(a, want);
    const auto number = [&](const char* key, int64_t value) {
        if (want.contains(key) && want[key].get<int64_t>() != value)
            differ(path, std::string(key) + " is " + std::to_string(value) + ", should be " +
                             want[key].dump());
    };
    if (want["type"] != type_name(a.type)) differ(path, "is a " + std::string(type_name(a.type)));
    if (want.contains("mode") && std::stoul(want["mode"].get<std::string>(), nullptr, 8) != a.mode)
        differ(path, "mode");
    number("uid", a.uid);
    number("gid", a.gid);
    if (a.type != FileType::chr && a.type != FileType::blk)
        number("size", static_cast<int64_t>(a.size));
    number("nlink", a.nlink);
    number("mtime", ns(a.mtime));
    number("ctime", ns(a.ctime));
    if (a.btime) number("btime", ns(*a.btime));
    number("blocks", static_cast<int64_t>(a.blocks));
    number("ino", static_cast<int64_t>(a.number.value()));
    if (want.contains("bsdflags") &&
        std::stoul(want["bsdflags"].get<std::string>(), nullptr, 16) != bsd_flags(a.flags))
        differ(path, "flags");
    if (want.contains("rdev") &&
        (want["rdev"][0] != a.rdev.major || want["rdev"][1] != a.rdev.minor))
        differ(path, "device number");
    if (a.type == FileType::lnk) {
        const auto target = vfs::readlink(vnode);
        if (!target || *target != text_of(want, "target")) differ(path, "target");
    }
    if (want.contains("sha256") && hash_of(vnode, 0, a.size) != want["sha256"])
        differ(path, "contents");
    if (want.contains("ranges"))
        for (const auto& r : want["ranges"])
            if (hash_of(vnode, r[0], r[1]) != r[2]) differ(path, "contents at " + r[0].dump());
}

void walk(const std::string& path, Vnode& vnode, std::map<std::string, json>& wanted) {
    const auto it = wanted.find(path.empty() ? "." : path);
    if (it == wanted.end()) return differ(path, "is not in the manifest");
    compare(path, vnode, it->second);
    wanted.erase(it);
    if (!vnode.is_dir()) return;
    std::vector<std::string> names;
    const auto read = vfs::readdir(vnode, 0, [&](const DirEntry& e) {
        const bool ours = path.empty() && e.name == work_folder;
        if (e.name != "." && e.name != ".." && !ours) names.emplace_back(e.name);
        return true;
    });
    if (!read) return differ(path, "readdir fails");
    for (const auto& name : names) {
        const std::string below = path.empty() ? name : path + "/" + name;
        auto child = vfs::lookup(vnode, name, Cred::superuser());
        if (!child) {
            differ(below, "lookup fails: " + std::string(errno_name(child.error())));
            continue;
        }
        walk(below, **child, wanted);
    }
}

std::string file_hash(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    test::Sha256 sum;
    std::vector<char> buffer(1 << 20);
    while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || in.gcount() > 0)
        sum.update(std::as_bytes(std::span(buffer.data(), static_cast<size_t>(in.gcount()))));
    return sum.hex();
}

/// Files at the borders of fragments and blocks, many names, links, renames, removals, attributes.
Result<void> work(Mount& mount) {
    const Cred root = Cred::superuser();
    VnodeRef top = TRY(mount.root());
    VnodeRef dir = TRY(vfs::mkdir(*top, work_folder, {FileType::dir, 0755, 0, {}}, root));
    std::vector<std::byte> data(3'000'000);
    for (size_t i = 0; i < data.size(); ++i)
        data[i] = static_cast<std::byte>(i * 2654435761u >> 11);
    for (uint64_t size : {1, 511, 1025, 4096, 8193, 40'000, 400'000, 3'000'000}) {
        const std::string name = "size-" + std::to_string(size);
        VnodeRef file = TRY(vfs::create(*dir, name, {FileType::reg, 0640, 0, {}}, root));
        if (TRY(vfs::write(*file, 0, std::span(data).first(size), root)) != size)
            return Errno::nospc;
        AttrChange change;
        change.size = size / 2;
        if (size % 2 == 0) TRY(vfs::setattr(*file, change, root));
    }
    for (int i = 0; i < 200; ++i)
        TRY(vfs::create(*dir, "name-" + std::to_string(i), {FileType::reg, 0644, 0, {}}, root));
    for (int i = 0; i < 200; i += 2) TRY(vfs::unlink(*dir, "name-" + std::to_string(i), root));
    VnodeRef below = TRY(vfs::mkdir(*dir, "below", {FileType::dir, 0700, 0, {}}, root));
    TRY(vfs::rename(*dir, "size-400000", *below, "moved", vfs::RenameMode::replace, root));
    if (mount.traits().symlinks) {
        TRY(vfs::symlink(*below, "short", "moved", root));
        TRY(vfs::symlink(*below, "long", std::string(900, 'l'), root));
    }
    VnodeRef moved = TRY(vfs::lookup(*below, "moved", root));
    if (mount.traits().hard_links) TRY(vfs::link(*moved, *dir, "linked", root));
    TRY(mount.sync());
    const auto value = std::span(data).first(700);
    if (auto set = vfs::setxattr(*moved, "user.test", value, XattrSet::any, root);
        !set && set.error() != Errno::opnotsupp)
        return set.error();
    return vfs::unlink(*dir, "size-1", root);
}

struct Mode {
    bool write = false, change = false, raw = false;
    std::string options;
};

/// Mounts `device` and calls `body`; false: no mount, or it cannot be left.
template<class Body>
bool with_mount(host::BlockDevice& device, const FileSystemType& type, const Mode& mode,
                Body body) {
    host::Log log(host::stderr_sink("verify_tree"));
    KernelConfig config;
    config.log = &log;
    Kernel kernel(config);
    MountArgs args;
    args.device = std::make_unique<conformance::BorrowedDevice>(device);
    args.options.read_only = !mode.write && !mode.change;
    args.options.no_recovery = mode.raw;
    args.options.atime = AtimePolicy::none;
    for (const std::string& item : split_options(mode.options)) {
        const NamedOption option(item);
        if (auto set = args.options.fs.set(type.mount_options(), option.name, option.value); !set) {
            std::printf("%s\n", set.error().text.c_str());
            return false;
        }
    }
    auto mount = kernel.mount(type, std::move(args));
    if (!mount) {
        std::printf("mount: %s\n", mount.error().text.c_str());
        return false;
    }
    body(**mount);
    if (auto gone = kernel.unmount(**mount, false); !gone) differ("", "unmount fails");
    return true;
}

void compare_tree(Mount& mount, std::map<std::string, json> wanted) {
    if (auto root = mount.root())
        walk("", **root, wanted);
    else
        differ("", "no root");
    for (const auto& [path, entry] : wanted) differ(path, "is missing");
}

void check_device(host::BlockDevice& device, const FileSystemType& type) {
    host::Log log(host::null_sink());
    CheckOptions options;
    options.force = true;
    auto report = type.check(device, options, log);
    if (!report) return differ("check", report.error().text);
    for (const Finding& f : report->findings) differ("check: " + f.place, f.message);
}

int verify(const std::string& image, const std::string& manifest, const Mode& mode) {
    auto file = host::open_file_device(image, {});
    if (!file) {
        std::printf("%s\n", file.error().text.c_str());
        return 2;
    }
    std::unique_ptr<host::BlockDevice> device = std::move(*file);
    if (mode.write || mode.change) device = host::make_memory_overlay(std::move(device));
    auto probed = probe_filesystems(*device);
    const FileSystemType* type = probed ? find_filesystem(probed->type) : nullptr;
    if (type == nullptr) {
        std::printf("%s: no file system is recognised\n", image.c_str());
        return 2;
    }
    std::map<std::string, json> wanted;
    std::ifstream in(manifest);
    for (const auto& entry : json::parse(in)) wanted[text_of(entry, "path")] = entry;
    if (mode.change) {
        const bool done = with_mount(*device, *type, mode, [](Mount& mount) {
            auto worked = work(mount);
            // Images may have been made without an inode to spare.
            const auto space = mount.statvfs();
            const bool full =
                !worked && worked.error() == Errno::nospc && space && space->files_free == 0;
            if (!worked && !full) differ("work", std::string(errno_name(worked.error())));
        });
        if (!done) return 2;
        check_device(*device, *type);
        for (const char* changed : {"mtime", "ctime", "nlink", "size", "blocks"})
            wanted["."].erase(changed);
    }
    if (!with_mount(*device, *type, mode, [&](Mount& m) { compare_tree(m, wanted); })) return 2;
    return differences == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    Mode mode;
    std::vector<std::string> names;
    for (int i = 1; i < argc; ++i) {
        const std::string arg = argv[i];
        if (arg == "--write")
            mode.write = true;
        else if (arg == "--change")
            mode.change = true;
        else if (arg == "--raw")
            mode.raw = true;
        else if (arg == "-o" && i + 1 < argc)
            mode.options = argv[++i];
        else
            names.push_back(arg);
    }
    if (names.size() != 2) {
        std::printf("usage: verify_tree [--write|--change] [--raw] [-o OPTIONS] IMAGE MANIFEST\n");
        return 2;
    }
    const std::string before = file_hash(names[0]);
    const int result = verify(names[0], names[1], mode);
    if (file_hash(names[0]) != before) {
        std::printf("%s: has changed\n", names[0].c_str());
        return 3;
    }
    return result;
}
