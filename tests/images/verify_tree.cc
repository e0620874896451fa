// Compares what an image shows, mounted in this process, with its manifest: every name and every
// key that the manifest has (paths, types, owners, sizes, times, targets, devices, flags,
// contents).
//
// usage: verify_tree [--write] [--raw] IMAGE MANIFEST
//     --write: mounted for writing over a copy in memory (a log is replayed for good)
//     --raw:   without replaying a log
// exit 0: the same; 1: differences, listed; 2: usage or no mount; 3: the image file has changed
#include "tests/images/sha256.h"

#include "kernel/fs/registry.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include "hostshim/file_device.h"
#include "hostshim/overlay_device.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <fstream>
#include <map>

using namespace rump;
using json = nlohmann::json;

namespace {

int differences = 0;

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

void compare(const std::string& path, Vnode& vnode, const json& want) {
    const auto got = vfs::getattr(vnode);
    if (!got) return differ(path, "getattr fails");
    const Attr& a = *got;
    const auto number = [&](const char* key, int64_t value) {
        if (want.contains(key) && want[key].get<int64_t>() != value)
            differ(path, std::string(key) + " is " + std::to_string(value) + ", should be " +
                             want[key].dump());
    };
    if (want["type"] != type_name(a.type)) differ(path, "is a " + std::string(type_name(a.type)));
    if (std::stoul(want["mode"].get<std::string>(), nullptr, 8) != a.mode) differ(path, "mode");
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
        if (e.name != "." && e.name != "..") names.emplace_back(e.name);
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

int verify(const std::string& image, const std::string& manifest, bool write, bool raw) {
    auto device = host::open_file_device(image, {});
    if (!device) {
        std::printf("%s\n", device.error().text.c_str());
        return 2;
    }
    host::Log log(host::stderr_sink("verify_tree"));
    KernelConfig config;
    config.log = &log;
    Kernel kernel(config);
    MountArgs args;
    args.device = write ? host::make_memory_overlay(std::move(*device)) : std::move(*device);
    args.options.read_only = !write;
    args.options.no_recovery = raw;
    args.options.atime = AtimePolicy::none;
    auto probed = probe_filesystems(*args.device);
    const FileSystemType* type = probed ? find_filesystem(probed->type) : nullptr;
    if (type == nullptr) {
        std::printf("%s: no file system is recognised\n", image.c_str());
        return 2;
    }
    auto mount = kernel.mount(*type, std::move(args));
    if (!mount) {
        std::printf("%s: %s\n", image.c_str(), mount.error().text.c_str());
        return 2;
    }
    std::map<std::string, json> wanted;
    std::ifstream in(manifest);
    for (const auto& entry : json::parse(in)) wanted[text_of(entry, "path")] = entry;
    if (auto root = (*mount)->root())
        walk("", **root, wanted);
    else
        differ("", "no root");
    for (const auto& [path, entry] : wanted) differ(path, "is missing");
    if (auto gone = kernel.unmount(**mount, false); !gone) differ("", "unmount fails");
    return differences == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    bool write = false, raw = false;
    std::vector<std::string> names;
    for (int i = 1; i < argc; ++i) {
        const std::string arg = argv[i];
        if (arg == "--write")
            write = true;
        else if (arg == "--raw")
            raw = true;
        else
            names.push_back(arg);
    }
    if (names.size() != 2) {
        std::printf("usage: verify_tree [--write] [--raw] IMAGE MANIFEST\n");
        return 2;
    }
    const std::string before = file_hash(names[0]);
    const int result = verify(names[0], names[1], write, raw);
    if (file_hash(names[0]) != before) {
        std::printf("%s: has changed\n", names[0].c_str());
        return 3;
    }
    return result;
}
