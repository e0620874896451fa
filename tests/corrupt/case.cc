// What is done with an image that lies.
#include "tests/corrupt/case.h"

#include "hostshim/memory_device.h"
#include "hostshim/overlay_device.h"
#include "kernel/vfs/vfs_ops.h"
#include "tests/support/tree_walk.h"
#include "tests/support/world.h"

#include <fmt/core.h>

#include <algorithm>

namespace rump::corrupt {

namespace {

using host::BlockDevice;
using test::lend;

/// Notes what is read.
class TracingDevice final : public BlockDevice {
public:
    explicit TracingDevice(BlockDevice& inner) : inner_(inner) {}
    uint64_t size() const override { return inner_.size(); }
    bool read_only() const override { return inner_.read_only(); }
    std::string name() const override { return inner_.name(); }
    Result<void> read(uint64_t offset, std::span<std::byte> out) override {
        if (!out.empty()) read_.add(offset, out.size());
        return inner_.read(offset, out);
    }
    Result<void> write(uint64_t offset, std::span<const std::byte> data) override {
        return inner_.write(offset, data);
    }
    Result<void> flush() override { return inner_.flush(); }
    const Ranges& ranges() const { return read_; }

private:
    BlockDevice& inner_;
    Ranges read_;
};

/// The log goes nowhere, but is formatted.
struct World : test::World {
    World() : test::World([](host::LogLevel, std::string_view) {}, host::LogLevel::debug) {}
};

Result<std::vector<std::byte>> read_path(Mount& mount, const std::string& path) {
    return test::read_all(*TRY(test::at_path(mount, path)));
}

/// Changes of all kinds, each of which may fail.
class Mischief {
public:
    Mischief(Mount& mount, uint64_t seed)
        : mount_(mount), random_(seed), cred_(Cred::superuser()) {}

    void run(const std::vector<std::string>& paths) {
        auto root = mount_.root();
        if (!root) return;
        make(**root);
        for (int i = 0; i < 12 && !paths.empty(); ++i)
            if (auto found = test::at_path(mount_, paths[random_.below(paths.size())]))
                change(**found);
        for (int i = 0; i < 6 && !paths.empty(); ++i) remove(paths[random_.below(paths.size())]);
        (void)mount_.sync().ok();
        (void)mount_.statvfs().ok();
        (void)mount_.describe();
        (void)mount_.trim(0, UINT64_MAX, 0).ok();
    }

private:
    void make(Vnode& dir) {
        const Cred user(1000, 1000);
        auto made = vfs::create(dir, "made", {FileType::reg, 0644, 0, {}}, cred_);
        if (made) {
            std::vector<std::byte> data(5000 + random_.below(60000), std::byte{0x5a});
            (void)vfs::write(**made, random_.below(100000), data, user).ok();
            (void)vfs::link(**made, dir, "made link", cred_).ok();
            (void)vfs::fsync(**made, false).ok();
        }
        auto sub = vfs::mkdir(dir, "made directory", {FileType::dir, 0755, 0, {}}, cred_);
        for (int i = 0; sub && i < 40; ++i)
            (void)vfs::create(**sub, fmt::format("entry number {}", i), {}, cred_).ok();
        (void)vfs::symlink(dir, "made symlink", std::string(80, 'y'), cred_).ok();
        (void)vfs::rename(dir, "made", dir, "renamed", vfs::RenameMode::replace, cred_).ok();
    }
    void change(Vnode& vnode) {
        std::vector<std::byte> data(3000, std::byte{0x33});
        AttrChange change;
        switch (random_.below(6)) {
        case 0:
            (void)vfs::write(vnode, random_.below(300000), data, cred_).ok();
            break;
        case 1:
            change.size = random_.below(400000);
            (void)vfs::setattr(vnode, change, cred_).ok();
            break;
        case 2:
            (void)vfs::setxattr(vnode, "user.new", data, XattrSet::any, cred_).ok();
            break;
        case 3:
            (void)vfs::create(vnode, "inside", {}, cred_).ok();
            break;
        case 4:
            (void)vfs::fallocate(vnode, random_.below(50000), 20000, vfs::Fallocate::punch_hole,
                                 cred_)
                .ok();
            break;
        default:
            change.mode = 0600;
            (void)vfs::setattr(vnode, change, cred_).ok();
            (void)vfs::seek(vnode, 0, Seek::hole).ok();
        }
    }
    void remove(const std::string& path) {
        size_t slash = path.rfind('/');
        auto dir = test::at_path(mount_, slash == 0 ? "/" : path.substr(0, slash));
        auto root = mount_.root();
        if (!dir || !root) return;
        std::string name = path.substr(slash + 1);
        if (random_.below(2))
            (void)vfs::rename(**dir, name, **root, "moved", vfs::RenameMode::replace, cred_).ok();
        else if (!vfs::unlink(**dir, name, cred_))
            (void)vfs::rmdir(**dir, name, cred_).ok();
    }

    Mount& mount_;
    host::SeededRandom random_;
    const Cred cred_;
};

} // namespace

FailureOr<Baseline> take_baseline(const Subject& subject) {
    auto image = host::make_memory_device(subject.image);
    Baseline baseline;
    std::vector<std::string> paths;
    {
        World world;
        auto copy = host::make_memory_overlay(*image);
        Mount* mount = TRY(world.kernel->mount(subject.type, {lend(*copy), subject.options}));
        auto walked =
            test::walk(*mount, {}, [&](const std::string& path, Vnode& vnode, const Attr&) {
                if (vnode.is_reg()) paths.push_back(path);
            });
        if (!walked.errors.empty())
            return Failure(Errno::uclean, "the good image: " + walked.errors.front());
        if (auto done = world.kernel->unmount(*mount, false); !done)
            return Failure(done.error(), "the good image: unmount");
    }
    for (const std::string& path : paths) {
        World world;
        auto copy = host::make_memory_overlay(*image);
        TracingDevice tracer(*copy);
        Mount* mount = TRY(world.kernel->mount(subject.type, {lend(tracer), subject.options}));
        auto contents = read_path(*mount, path);
        if (!contents) return Failure(contents.error(), "the good image: " + path);
        baseline.files[path] = {contents.release_value(), tracer.ranges()};
        (void)world.kernel->unmount(*mount, false).ok();
    }
    return baseline;
}

CaseResult run_case(const Subject& subject, const Baseline& baseline, const Lie& lie,
                    BlockDevice& device, uint64_t seed) {
    CaseResult result;
    World world;
    auto mounted = world.kernel->mount(subject.type, {lend(device), subject.options});
    if (!mounted) {
        result.refused = true;
        for (auto& [path, file] : baseline.files)
            if (!file.read.touches(lie.offset, lie.bytes.size()))
                result.complaint =
                    "mount refused over bytes that it does not need: " + mounted.error().text;
        return result;
    }
    Mount& mount = **mounted;
    std::vector<std::string> paths;
    test::WalkLimits limits{.entries = 5000, .bytes_per_file = 1u << 20, .depth = 200};
    auto walked = test::walk(mount, limits, [&](const std::string& path, Vnode&, const Attr&) {
        if (paths.size() < 1000) paths.push_back(path);
    });
    for (auto& [path, file] : baseline.files) {
        if (file.read.touches(lie.offset, lie.bytes.size())) continue;
        ++result.compared;
        auto contents = read_path(mount, path);
        if (!contents)
            result.complaint = fmt::format("{}: {}", path, errno_name(contents.error()));
        else if (*contents != file.contents)
            result.complaint = path + ": other contents";
    }
    Mischief(mount, seed).run(paths);
    result.damaged = mount.tainted() || !walked.errors.empty();
    // Busy is our bug: somebody kept a reference. Any other error the image may have brought about.
    auto unmounted = world.kernel->unmount(mount, false);
    if (!unmounted && unmounted.error() == Errno::busy) result.complaint = "unmount: EBUSY";
    return result;
}

} // namespace rump::corrupt
