// What the test scripts of file systems do to an image through the kernel, in process. TYPE is the
// file system's name:
//   fstool TYPE out IMAGE FOLDER            copies the image's tree into an empty folder
//   fstool TYPE in IMAGE FOLDER             copies a folder into the image
//   fstool TYPE touch IMAGE                 mounts for writing and unmounts
//   fstool TYPE churn IMAGE SEED COUNT      random operations
//   fstool TYPE newfs IMAGE [OPTION=VALUE] ...
//   fstool TYPE check IMAGE                 prints what our checker finds
//   fstool TYPE repair IMAGE              the same, and mends what can be mended
//   fstool TYPE fill IMAGE COUNT NAMELEN    many files in one directory, half of them removed again
#include "tests/support/tree_copy.h"

#include "hostshim/file_device.h"
#include "kernel/fs/registry.h"

#include <array>
#include <chrono>
#include <cstring>
#include <fmt/core.h>
#include <functional>
#include <iostream>
#include <span>

using namespace rump;

namespace {

const Cred root = Cred::superuser();

int fill(Mount& mount, int count, int length) {
    auto top = mount.root();
    auto dir = vfs::mkdir(**top, "filled", {FileType::dir, 0755, 0, {}}, root);
    if (!dir) return 1;
    const auto name = [&](int i) {
        std::string n = fmt::format("{:06}-", i);
        n.resize(static_cast<size_t>(length), 'x');
        return n;
    };
    for (int i = 0; i < count; ++i)
        if (auto made = vfs::create(**dir, name(i), {FileType::reg, 0644, 0, {}}, root); !made) {
            std::cout << "create " << i << ": " << errno_name(made.error()) << "\n";
            return 1;
        }
    for (int i = 0; i < count; i += 2)
        if (auto gone = vfs::unlink(**dir, name(i), root); !gone) {
            std::cout << "unlink " << i << ": " << errno_name(gone.error()) << "\n";
            return 1;
        }
    for (int i = 0; i < count; ++i)
        if (vfs::lookup(**dir, name(i), root).ok() != (i % 2 == 1)) {
            std::cout << "lookup " << i << "\n";
            return 1;
        }
    return 0;
}

class Churn {
public:
    Churn(Mount& mount, uint64_t seed) : mount_(mount), random_(seed) {}

    int run(int count) {
        for (int i = 0; i < count; ++i) {
            auto top = mount_.root();
            if (!top) return 1;
            step(**top);
            if (random_.below(500) == 0 && !mount_.sync()) return 1;
        }
        return mount_.tainted() ? 1 : 0;
    }

private:
    std::string name() { return fmt::format("n{}", random_.below(40)); }

    VnodeRef directory(Vnode& top) {
        if (random_.below(3) == 0) return VnodeRef::to(top);
        auto found = vfs::lookup(top, fmt::format("d{}", random_.below(8)), root);
        if (!found || !(*found)->is_dir()) return VnodeRef::to(top);
        return *found;
    }

    void data(Vnode& dir) {
        auto file = vfs::lookup(dir, name(), root);
        if (!file || !(*file)->is_reg()) return;
        const uint64_t at = random_.below(random_.below(20) == 0 ? 70'000'000 : 300'000);
        std::vector<std::byte> bytes(1 + random_.below(60'000));
        random_.fill(bytes);
        AttrChange change;
        switch (random_.below(6)) {
        case 0:
            change.size = at;
            (void)vfs::setattr(**file, change, root);
            break;
        case 1:
            (void)vfs::fallocate(**file, at, 1 + random_.below(100'000), vfs::Fallocate::punch_hole,
                                 root);
            break;
        case 2:
            (void)vfs::fallocate(**file, at % 300'000, 1 + random_.below(100'000),
                                 vfs::Fallocate::zero_range, root);
            break;
        default:
            (void)vfs::write(**file, at, bytes, root);
        }
    }

    /// Mostly a file, else a special one.
    vfs::Make made() {
        constexpr std::array special{FileType::fifo, FileType::sock, FileType::chr, FileType::blk};
        vfs::Make make{FileType::reg, 0644, 0, {}};
        if (random_.below(5) != 0) return make;
        make.type = special[random_.below(special.size())];
        if (make.type == FileType::chr || make.type == FileType::blk)
            make.rdev = {static_cast<uint32_t>(random_.below(4096)),
                         static_cast<uint32_t>(random_.below(1u << 20))};
        return make;
    }

    void names(Vnode& top, Vnode& dir) {
        const std::string n = name();
        switch (random_.below(8)) {
        case 0:
        case 1:
            (void)vfs::create(dir, n, made(), root);
            break;
        case 2:
            (void)vfs::mkdir(top, fmt::format("d{}", random_.below(8)),
                             {FileType::dir, 0755, 0, {}}, root);
            break;
        case 3:
            (void)vfs::unlink(dir, n, root);
            break;
        case 4:
            (void)vfs::rmdir(top, fmt::format("d{}", random_.below(8)), root);
            break;
        case 5:
            (void)vfs::symlink(dir, n, std::string(1 + random_.below(120), 't'), root);
            break;
        case 6:
            if (auto file = vfs::lookup(dir, n, root))
                (void)vfs::link(**file, *directory(top), name(), root);
            break;
        default:
            (void)vfs::rename(
                dir, n, *directory(top), name(),
                random_.below(4) == 0 ? vfs::RenameMode::exchange : vfs::RenameMode::replace, root);
        }
    }

    void attributes(Vnode& dir) {
        auto file = vfs::lookup(dir, name(), root);
        if (!file) return;
        const std::string n = fmt::format("user.a{}", random_.below(5));
        std::vector<std::byte> value(random_.below(random_.below(4) == 0 ? 900 : 60));
        if (random_.below(3) == 0)
            (void)vfs::removexattr(**file, n, root);
        else
            (void)vfs::setxattr(**file, n, value, XattrSet::any, root);
    }

    void step(Vnode& top) {
        VnodeRef dir = directory(top);
        switch (random_.below(5)) {
        case 0:
            attributes(*dir);
            break;
        case 1:
        case 2:
            data(*dir);
            break;
        default:
            names(top, *dir);
        }
    }

    Mount& mount_;
    host::SeededRandom random_;
};

int newfs(const FileSystemType& type, host::BlockDevice& device, std::span<char*> wanted) {
    OptionSet options;
    for (const std::string_view option : wanted) {
        const size_t equals = option.find('=');
        std::optional<std::string_view> value;
        if (equals != option.npos) value = option.substr(equals + 1);
        auto set = options.set(type.newfs_options(), option.substr(0, equals), value);
        if (!set) std::cout << set.error().text << "\n";
        if (!set) return 1;
    }
    Kernel kernel;
    auto made = type.newfs(kernel, device, options);
    if (!made) std::cout << made.error().text << "\n";
    return made ? 0 : 1;
}

int check(const FileSystemType& type, host::BlockDevice& device, bool repair) {
    host::Log log(host::null_sink());
    CheckOptions options;
    options.force = true;
    options.repair = repair;
    auto report = type.check(device, options, log);
    if (!report) {
        std::cout << report.error().text << "\n";
        return 8;
    }
    for (const Finding& f : report->findings)
        std::cout << f.code << ": " << f.place << ": " << f.message
                  << (f.repaired ? " (repaired)\n" : "\n");
    return report->exit_code();
}

int usage() {
    std::cerr << "usage: fstool TYPE out|in|touch|churn|fill|newfs|check|repair IMAGE ...\n";
    return 2;
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 4) return usage();
    const FileSystemType* type = find_filesystem(argv[1]);
    const std::string what = argv[2];
    if (type == nullptr) return usage();
    const std::span<char*> rest(argv + 4, static_cast<size_t>(argc - 4));
    const bool writes = what != "out" && what != "check";
    auto device = host::open_file_device(
        argv[3], {writes ? host::Access::read_write : host::Access::read_only, 0, 0, true});
    if (!device) {
        std::cout << device.error().text << "\n";
        return 1;
    }
    if (what == "newfs") return newfs(*type, **device, rest);
    if (what == "check" || what == "repair") return check(*type, **device, what == "repair");
    host::Log log(host::stderr_sink("fstool"), host::LogLevel::warning);
    Kernel kernel({nullptr, nullptr, &log, false});
    MountArgs args;
    args.device = device.release_value();
    args.options.read_only = !writes;
    args.options.atime = AtimePolicy::none;
    auto mounted = kernel.mount(*type, std::move(args));
    if (!mounted) {
        std::cout << mounted.error().text << "\n";
        return 1;
    }
    Mount& mount = **mounted;
    int failures = 0;
    if (what == "out" && rest.size() == 1)
        failures = test::TreeCopy(mount).out(rest[0]);
    else if (what == "in" && rest.size() == 1)
        failures = test::TreeCopy(mount).in(rest[0]);
    else if (what == "churn" && rest.size() == 2)
        failures = Churn(mount, std::stoull(rest[0])).run(std::stoi(rest[1]));
    else if (what == "fill" && rest.size() == 2)
        failures = fill(mount, std::stoi(rest[0]), std::stoi(rest[1]));
    else if (what != "touch")
        return usage();
    if (auto done = kernel.unmount(mount, false); !done) {
        std::cout << "unmount: " << errno_name(done.error()) << "\n";
        return 1;
    }
    return failures ? 1 : 0;
}
