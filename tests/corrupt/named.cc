// The tree, the look and the check of named lies. See named.h.
#include "tests/corrupt/named.h"

#include "tests/corrupt/driver.h"
#include "tests/support/tree_walk.h"

#include "hostshim/faulty_device.h"
#include "hostshim/memory_device.h"
#include "kernel/kern/kernel.h"
#include "kernel/sys/mount_options.h"
#include "kernel/vfs/vfs_ops.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

namespace rump::corrupt {

namespace {

const Cred root = Cred::superuser();
constexpr uint64_t other_size = 5000;

VnodeRef make(Vnode& dir, const std::string& name, size_t size) {
    auto made = vfs::create(dir, name, {FileType::reg, 0644, 0, {}}, root);
    REQUIRE(made.ok());
    const std::vector<std::byte> data(size, std::byte{'d'});
    if (size != 0) REQUIRE(vfs::write(**made, 0, data, root).ok());
    return *made;
}

VnodeRef make_dir(Vnode& dir, const std::string& name) {
    auto made = vfs::mkdir(dir, name, {FileType::dir, 0755, 0, {}}, root);
    REQUIRE(made.ok());
    return *made;
}

void fill(Mount& mount) {
    VnodeRef top = *mount.root();
    make(*top, "file", 3000);
    make(*top, "big", 20'000);
    make(*top, "huge", 300'000);
    make(*top, "other", other_size);
    make(*top, "A long name, of more than one piece", 100);
    VnodeRef dir = make_dir(*top, "dir");
    make(*dir, "inner", 100);
    make(*dir, "inner2", 100);
    VnodeRef sub = make_dir(*dir, "sub");
    make(*sub, "deep", 100);
    VnodeRef many = make_dir(*top, "many");
    for (int i = 0; i < 150; ++i) make(*many, fmt::format("entry-{:04}", i), 0);
}

void change(Mount& mount) {
    auto top = mount.root();
    if (!top) return;
    const std::vector<std::byte> data(30'000, std::byte{'n'});
    if (auto made = vfs::create(**top, "a new name of some length", {}, root))
        (void)vfs::write(**made, 0, data, root).ok();
    if (auto dir = vfs::lookup(**top, "dir", root)) {
        (void)vfs::mkdir(**dir, "new-dir", {FileType::dir, 0755, 0, {}}, root).ok();
        (void)vfs::unlink(**dir, "inner2", root).ok();
        (void)vfs::rename(**dir, "inner", **top, "moved", vfs::RenameMode::replace, root).ok();
        (void)vfs::rename(**dir, "sub", **top, "sub", vfs::RenameMode::replace, root).ok();
    }
    AttrChange shorter;
    shorter.size = 10'000;
    if (auto node = vfs::lookup(**top, "huge", root))
        (void)vfs::setattr(**node, shorter, root).ok();
    if (auto node = vfs::lookup(**top, "big", root))
        (void)vfs::write(**node, 15'000, data, root).ok();
    if (auto node = vfs::lookup(**top, "attr", root))
        (void)vfs::setxattr(**node, "user.y", std::span(data).first(100), XattrSet::any, root).ok();
    for (const char* name : {"file", "big", "huge", "slow"})
        (void)vfs::unlink(**top, name, root).ok();
}

} // namespace

NamedImage make_named_image(const FileSystemType& type, uint64_t size, std::string_view newfs,
                            FunctionRef<uint64_t(Vnode&)> position) {
    OptionSet options;
    for (const std::string& item : split_options(newfs)) {
        const NamedOption option(item);
        REQUIRE(options.set(type.newfs_options(), option.name, option.value).ok());
    }
    NamedImage image;
    auto device = host::make_memory_device(size);
    host::SeededRandom random(9);
    Kernel kernel({nullptr, &random, nullptr, false});
    REQUIRE(type.newfs(kernel, *device, options).ok());
    auto mounted = kernel.mount(type, {std::make_unique<host::FaultyDevice>(*device), {}});
    REQUIRE(mounted.ok());
    fill(**mounted);
    auto walked = test::walk(**mounted, {}, [&](const std::string& path, Vnode& node, const Attr&) {
        image.entries[path] = position(node);
    });
    REQUIRE(walked.errors.empty());
    REQUIRE(kernel.unmount(**mounted, false).ok());
    image.bytes.resize(size);
    REQUIRE(device->read(0, image.bytes).ok());
    return image;
}

Seen look(const FileSystemType& type, std::span<const std::byte> image, bool write) {
    Seen seen;
    host::Log log(
        [&](host::LogLevel, std::string_view line) { seen.log += std::string(line) + "\n"; });
    Kernel kernel({nullptr, nullptr, &log, false});
    MountArgs args;
    args.device = host::make_memory_device(std::vector<std::byte>(image.begin(), image.end()));
    args.options.read_only = !write;
    args.options.errors = ErrorPolicy::carry_on;
    auto mounted = kernel.mount(type, std::move(args));
    if (!mounted) {
        seen.refusal = mounted.error().text;
        return seen;
    }
    Mount& mount = **mounted;
    const auto result =
        test::walk(mount, {}, [&](const std::string& path, Vnode& node, const Attr&) {
            if (node.is_dir() || node.type() == FileType::lnk)
                seen.readable[path] = 0;
            else if (auto all = test::read_all(node))
                seen.readable[path] = all->size();
            std::vector<std::byte> value(1000);
            (void)vfs::getxattr(node, "user.x", value, root).ok();
        });
    for (const std::string& error : result.errors) seen.errors += error + "\n";
    if (write) change(mount);
    (void)kernel.unmount(mount, true).ok();
    return seen;
}

std::string findings(const FileSystemType& type, host::BlockDevice& device, bool repair) {
    host::Log log(host::null_sink());
    CheckOptions options;
    options.force = true;
    options.repair = repair;
    auto report = type.check(device, options, log);
    if (!report) return "refused: " + report.error().text;
    std::string out;
    for (const Finding& f : report->findings)
        if (f.severity != Finding::Severity::note)
            out += fmt::format("{}: {}: {}{}\n", f.code, f.place, f.message,
                               f.repaired ? " (repaired)" : "");
    if (repair && report->exit_code() <= 1) {
        INFO("findings of the repair:\n" << out);
        CHECK(findings(type, device, false).empty());
    }
    return out;
}

void nothing_worse(const FileSystemType& type, std::span<const std::byte> image) {
    (void)look(type, image, true);
    auto device = host::make_memory_device(std::vector<std::byte>(image.begin(), image.end()));
    (void)findings(type, *device, true);
    std::vector<std::byte> mended(image.size());
    REQUIRE(device->read(0, mended).ok());
    const Seen seen = look(type, mended, false);
    if (seen.refusal.empty() && seen.readable.contains("/other"))
        CHECK(seen.readable.at("/other") == other_size);
}

void mount_says(const FileSystemType& type, std::span<const std::byte> image,
                const std::string& text, const std::vector<std::string>& intact,
                const std::string& place) {
    const Seen seen = look(type, image, false);
    INFO(place << ": " << text << "\nrefusal: " << seen.refusal << "\nlog: " << seen.log
               << "\nerrors: " << seen.errors);
    if (!seen.refusal.empty()) {
        CHECK(!text.empty());
        CHECK(seen.refusal.find(text) != std::string::npos);
    } else {
        CHECK(seen.log.find(text) != std::string::npos);
        if (text.empty()) CHECK(seen.log + seen.errors == "");
        for (const std::string& path : intact) CHECK(seen.readable.count(path) == 1);
    }
    nothing_worse(type, image);
}

void check_says(const FileSystemType& type, std::span<const std::byte> image,
                const std::string& text, const std::string& place) {
    auto device = host::make_memory_device(std::vector<std::byte>(image.begin(), image.end()));
    const std::string found = findings(type, *device, false);
    INFO(place << ": " << text << "\nfound: " << found);
    CHECK(found.find(text) != std::string::npos);
    nothing_worse(type, image);
}

} // namespace rump::corrupt
