// A rename that was cut between its two entries: every prefix of what it writes is mounted, read
// and written into, and judged by our check.
#include "hostshim/faulty_device.h"
#include "hostshim/memory_device.h"
#include "hostshim/overlay_device.h"
#include "hostshim/recording_device.h"
#include "kernel/fs/registry.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/namei.h"
#include "kernel/vfs/vfs_ops.h"
#include "tests/support/fat_image.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <functional>

using namespace rump;

namespace {

using Format = test::FatFormat;

const Format formats[] = {
    {"FAT12", "msdosfs", 4 << 20, {{"fat", "12"}, {"cluster", "2048"}}},
    {"FAT16", "msdosfs", 10 << 20, {{"fat", "16"}, {"cluster", "1024"}}},
    {"FAT32", "msdosfs", 40 << 20, {{"fat", "32"}, {"cluster", "512"}}},
    {"exFAT", "exfatfs", 10 << 20, {{"cluster", "1024"}}},
};

/// A mount of a device that stays ours, and what was logged.
class World {
public:
    World(const Format& format, host::BlockDevice& device, bool read_only = false)
        : log_([this](host::LogLevel, std::string_view line) { said += std::string(line) + "; "; },
               host::LogLevel::warning),
          kernel_(config()) {
        MountOptions options;
        options.read_only = read_only;
        auto mounted = kernel_.mount(*find_filesystem(format.type),
                                     {std::make_unique<host::FaultyDevice>(device), options});
        INFO((mounted.ok() ? "" : mounted.error().text));
        REQUIRE(mounted.ok());
        mount_ = *mounted;
    }
    ~World() {
        if (mount_) (void)kernel_.unmount(*mount_, false);
    }
    void unmount() { REQUIRE(kernel_.unmount(*std::exchange(mount_, nullptr), false).ok()); }
    Mount& mount() { return *mount_; }

    VnodeRef at(const std::string& path) {
        VnodeRef root = *mount_->root();
        auto found = vfs::namei({root, root}, path, vfs::FollowLast::no, cred);
        INFO(path << ": " << (found.ok() ? "" : errno_name(found.error())) << " [" << said << "]");
        REQUIRE(found.ok());
        return *found;
    }
    bool exists(const std::string& path) {
        VnodeRef root = *mount_->root();
        auto found = vfs::namei({root, root}, path, vfs::FollowLast::no, cred);
        INFO(path << ": " << (found.ok() ? "" : errno_name(found.error())) << " [" << said << "]");
        if (!found) REQUIRE(found.error() == Errno::noent);
        return found.ok();
    }
    std::string read(const std::string& path) {
        std::string text(10000, '\0');
        auto got = vfs::read(*at(path), 0, std::as_writable_bytes(std::span(text)));
        INFO(path << " [" << said << "]");
        REQUIRE(got.ok());
        text.resize(*got);
        return text;
    }
    void write(const std::string& path, const std::string& text, uint64_t offset = 0) {
        auto [dir, name] = parent(path);
        if (!exists(path))
            REQUIRE(vfs::create(*at(dir), name, {FileType::reg, 0644, 0, {}}, cred).ok());
        auto put = vfs::write(*at(path), offset, std::as_bytes(std::span(text)), cred);
        INFO(path << " [" << said << "]");
        REQUIRE(put.ok());
        REQUIRE(*put == text.size());
    }
    /// As a cache above hands over what it holds of a file.
    void write_back(const std::string& path, const std::string& text, uint64_t offset) {
        auto put = vfs::write_back(*at(path), offset, std::as_bytes(std::span(text)),
                                   [this](const Attr&) { return cred; });
        REQUIRE(put.ok());
        REQUIRE(*put == text.size());
    }
    void mkdir(const std::string& path) {
        auto [dir, name] = parent(path);
        REQUIRE(vfs::mkdir(*at(dir), name, {FileType::dir, 0755, 0, {}}, cred).ok());
    }
    void rmdir(const std::string& path) {
        auto [dir, name] = parent(path);
        REQUIRE(vfs::rmdir(*at(dir), name, cred).ok());
    }
    void unlink(const std::string& path) {
        auto [dir, name] = parent(path);
        REQUIRE(vfs::unlink(*at(dir), name, cred).ok());
    }
    void truncate(const std::string& path, uint64_t size) {
        AttrChange change;
        change.size = size;
        REQUIRE(vfs::setattr(*at(path), change, cred).ok());
    }
    void rename(const std::string& from, const std::string& to) {
        auto [from_dir, from_name] = parent(from);
        auto [to_dir, to_name] = parent(to);
        auto done = vfs::rename(*at(from_dir), from_name, *at(to_dir), to_name,
                                vfs::RenameMode::replace, cred);
        INFO(from << " to " << to);
        REQUIRE(done.ok());
    }
    void sync() { REQUIRE(mount_->sync().ok()); }

    std::string said;

private:
    KernelConfig config() {
        KernelConfig config;
        config.clock = &clock_;
        config.random = &random_;
        config.log = &log_;
        return config;
    }
    static std::pair<std::string, std::string> parent(const std::string& path) {
        size_t slash = path.rfind('/');
        return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
    }

    const Cred cred = Cred::superuser();
    host::VirtualClock clock_{Timespec{1000000000, 0}, 1000000};
    host::SeededRandom random_{1};
    host::Log log_;
    Kernel kernel_;
    Mount* mount_ = nullptr;
};

/// Mends what is wrong; nothing is left then.
void check(const Format& format, host::BlockDevice& device) {
    host::Log log(host::null_sink());
    CheckOptions options;
    options.repair = true;
    const FileSystemType& type = *find_filesystem(format.type);
    REQUIRE(type.check(device, options, log).ok());
    options.repair = false;
    auto second = type.check(device, options, log);
    REQUIRE(second.ok());
    for (const Finding& finding : second->findings) FAIL_CHECK(finding.code << finding.message);
}

using Step = std::function<void(World&)>;
/// What is to be seen on `cut`: one state; `twins`: something has two names in it.
using Look = std::function<void(host::BlockDevice& cut, bool twins)>;

/// Every state between `prepare` and the end of `act`, in the order of what was written. Returns in
/// how many something had two names.
unsigned each_state(const Format& format, const Step& prepare, const Step& act, const Look& look) {
    auto image = host::make_memory_device(format.size);
    test::make_fat(format, *image);
    host::RecordingDevice recorder(host::make_memory_overlay(*image));
    size_t begin;
    {
        World world(format, recorder);
        prepare(world);
        world.sync();
        begin = recorder.events().size();
        act(world);
        world.sync();
        REQUIRE(world.said.empty());
    }
    unsigned twins = 0;
    for (size_t i = 0; i < begin; i++) REQUIRE(replay(recorder.events()[i], *image).ok());
    for (size_t i = begin; i < recorder.events().size(); i++) {
        REQUIRE(replay(recorder.events()[i], *image).ok());
        if (recorder.events()[i].kind == host::RecordedEvent::Kind::flush) continue;
        INFO(format.name << ", event " << i);
        bool two;
        {
            auto cut = host::make_memory_overlay(*image);
            World world(format, *cut, true);
            two = world.said.find("had two names") != std::string::npos;
        }
        auto cut = host::make_memory_overlay(*image);
        look(*cut, two);
        check(format, *cut);
        twins += two;
    }
    return twins;
}

void each_cut(const Format& format, const Step& prepare, const Step& act, const Look& look) {
    INFO(format.name);
    CHECK(each_state(format, prepare, act, look) > 0); // else nothing was shown
}

/// So many entries that the next one stands in another sector.
void fill_sector(World& world, const std::string& dir) {
    for (int i = 0; i < 80; i++) world.write(fmt::format("{}/fill{}", dir, i), "");
}

} // namespace

TEST_CASE("a directory whose rename was cut has one name, whether it is read or written") {
    struct Case {
        const char* what;
        const char* to;
    };
    for (const Format& format : formats)
        for (const Case& one : {Case{"elsewhere", "/b/d"},
                                Case{"beside", "/a/a name that does not fit into the sector of the "
                                               "old one, in which there are others, though"},
                                Case{"over an empty one", "/b/empty"}, Case{"up", "/d"}}) {
            INFO(one.what);
            auto prepare = [](World& world) {
                for (const char* path : {"/a", "/b", "/a/d", "/a/d/sub", "/b/empty"})
                    world.mkdir(path);
                world.write("/a/d/file", "kept");
                world.write("/a/d/sub/file", "kept, too");
                fill_sector(world, "/a");
                world.write("/a/d2", "");
            };
            auto act = [&](World& world) { world.rename("/a/d", one.to); };
            each_cut(format, prepare, act, [&](host::BlockDevice& cut, bool) {
                for (bool read_only : {true, false, true}) {
                    World world(format, cut, read_only);
                    bool old = world.exists("/a/d");
                    bool moved = world.exists(std::string(one.to) + "/file");
                    REQUIRE(old != moved);
                    std::string dir = old ? "/a/d" : one.to;
                    CHECK(world.read(dir + "/file") == "kept");
                    CHECK(world.read(dir + "/sub/file") == "kept, too");
                    CHECK(world.exists("/a/d2"));
                    CHECK_FALSE(world.mount().tainted());
                    if (!read_only) { // nothing of the other name is in the way
                        world.write(dir + "/new", "more");
                        const std::string other = old ? one.to : "/a/d";
                        if (!world.exists(other)) world.mkdir(other);
                        world.rmdir(other);
                    }
                    world.unmount();
                }
            });
        }
}

TEST_CASE("of a file whose rename was cut each name can be changed and removed alone") {
    const std::string bytes(3000, 'a');
    for (const Format& format : formats)
        for (const char* to : {"/b/new", "/b/old"})
            for (unsigned what = 0; what < 6; what++) {
                INFO(to << ", " << what);
                auto prepare = [&](World& world) {
                    world.mkdir("/a");
                    world.mkdir("/b");
                    world.write("/a/f", bytes);
                    world.write("/b/old", "was there");
                };
                auto act = [&](World& world) { world.rename("/a/f", to); };
                each_cut(format, prepare, act, [&](host::BlockDevice& cut, bool twins) {
                    {
                        World world(format, cut);
                        if (std::string_view(to) == "/b/old") {
                            std::string now = world.read(to);
                            CHECK((now == bytes || now == "was there"));
                        }
                        if (!twins) return;
                        REQUIRE(world.read("/a/f") == bytes);
                        REQUIRE(world.read(to) == bytes);
                        const std::string one = what % 2 ? "/a/f" : to;
                        const std::string other = what % 2 ? std::string(to) : "/a/f";
                        std::string expected = bytes;
                        if (what == 0 || what == 1) {
                            world.unlink(one);
                        } else if (what == 2) {
                            world.truncate(one, 1500);
                            expected.resize(1500);
                        } else if (what == 3) {
                            world.write(one, "changed", 1000);
                            expected.replace(1000, 7, "changed");
                        } else if (what == 4) {
                            world.write_back(one, "changed", 1000);
                            expected.replace(1000, 7, "changed");
                        } else {
                            world.write(one, bytes, bytes.size());
                            expected += bytes;
                        }
                        world.sync();
                        // What was freed is used again.
                        world.write("/b/third", std::string(9000, 't'));
                        CHECK(world.read(other) == bytes);
                        if (what > 1) CHECK(world.read(one) == expected);
                        world.write(other, "x");
                        world.sync();
                        if (what > 1) CHECK(world.read(one) == expected);
                        CHECK_FALSE(world.mount().tainted());
                        world.unmount();
                    }
                    host::Log log(host::null_sink());
                    auto report = find_filesystem(format.type)->check(cut, {}, log);
                    REQUIRE(report.ok());
                    for (const Finding& finding : report->findings)
                        if (finding.code != "dirty" && finding.code != "lost-clusters" &&
                            finding.code != "fsinfo-free" && finding.code != "lost")
                            FAIL_CHECK(finding.code << ": " << finding.message);
                });
            }
}

TEST_CASE("a cut comes between no parts of a name that takes more than a sector") {
    const std::string from = "/" + std::string(240, 'o'), to = "/" + std::string(240, 'n');
    for (const Format& format : formats) {
        unsigned olds = 0, news = 0;
        auto prepare = [&](World& world) {
            world.write("/before", "1");
            world.write(from, "kept");
            world.write("/behind", "2");
        };
        auto act = [&](World& world) {
            world.rename(from, to);
            world.sync();
            world.unlink(to);
        };
        each_state(format, prepare, act, [&](host::BlockDevice& cut, bool) {
            for (bool read_only : {true, false}) {
                World world(format, cut, read_only);
                for (const std::string& name : {from, to})
                    if (world.exists(name)) CHECK(world.read(name) == "kept");
                olds += world.exists(from);
                news += world.exists(to);
                CHECK(world.read("/before") == "1");
                CHECK(world.read("/behind") == "2");
                if (!read_only) world.write("/new", "3");
                CHECK_FALSE(world.mount().tainted());
                world.unmount();
            }
        });
        CHECK(olds > 0);
        CHECK(news > 0);
    }
}
