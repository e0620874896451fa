// System calls in terms of vfs_ops and namei. See direct.h.
#include "tests/conformance/direct.h"

#include "tests/conformance/borrowed_device.h"
#include "tests/conformance/process.h"
#include "tests/conformance/targets.h"
#include "tests/support/memory_file.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/namei.h"

#include "hostshim/overlay_device.h"

#include <cstring>
#include <stdexcept>

namespace rump::conformance {

namespace {

std::span<const std::byte> as_bytes(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}
std::span<std::byte> as_room(std::string& text) {
    return std::as_writable_bytes(std::span(text.data(), text.size()));
}

Cred cred_of(const User& user) {
    return user.uid == 0 ? Cred::superuser() : Cred(user.uid, user.gid, user.groups);
}

class DirectFile final : public OpenFile {
public:
    DirectFile(VnodeRef vnode, int flags, Cred cred)
        : vnode_(std::move(vnode)), flags_(flags), cred_(std::move(cred)) {}

    Result<std::string> pread(uint64_t offset, size_t length) override {
        if ((flags_ & O_ACCMODE) == O_WRONLY) return Errno::badf;
        std::string out(length, '\0');
        const size_t n = TRY(vfs::read(*vnode_, offset, as_room(out)));
        out.resize(n);
        return out;
    }
    Result<size_t> pwrite(uint64_t offset, std::string_view data) override {
        if (!writable()) return Errno::badf;
        return vfs::write(*vnode_, offset, as_bytes(data), cred_);
    }
    Result<size_t> append(std::string_view data) override {
        if (!writable()) return Errno::badf;
        TRY(vfs::append(*vnode_, as_bytes(data), cred_));
        return data.size();
    }
    Result<Attr> stat() override { return vfs::getattr(*vnode_); }
    Result<void> truncate(uint64_t size) override {
        if (!writable()) return Errno::badf;
        // The right to write was judged when it was opened.
        const Cred opener = Cred::host_checked(cred_.uid(), cred_.gid());
        TRY(vfs::setattr(*vnode_, AttrChange{.size = size}, cred_.is_superuser() ? cred_ : opener));
        return {};
    }
    Result<void> sync(bool data_only) override { return vfs::fsync(*vnode_, data_only); }
    Result<void> flush() override { return {}; }
    Result<uint64_t> seek(uint64_t offset, Seek what) override {
        return vfs::seek(*vnode_, offset, what);
    }
    Result<void> fallocate(vfs::Fallocate mode, uint64_t offset, uint64_t length) override {
        if (!writable()) return Errno::badf;
        return vfs::fallocate(*vnode_, offset, length, mode, cred_);
    }
    Result<uint64_t> copy_to(uint64_t offset, OpenFile& to, uint64_t to_offset,
                             uint64_t length) override {
        auto& other = static_cast<DirectFile&>(to);
        if (!other.writable()) return Errno::badf;
        return vfs::copy_range(*vnode_, offset, *other.vnode_, to_offset, length, cred_);
    }

private:
    bool writable() const { return (flags_ & O_ACCMODE) != O_RDONLY; }

    const VnodeRef vnode_;
    const int flags_;
    const Cred cred_;
};

class DirectDir final : public OpenDir {
public:
    explicit DirectDir(VnodeRef vnode) : vnode_(std::move(vnode)) {}

    Result<std::vector<DirItem>> next() override {
        constexpr size_t few = 20; // so that reading goes in many steps
        std::vector<DirItem> items;
        TRY(vfs::readdir(*vnode_, cookie_, [&](const DirEntry& entry) {
            if (items.size() == few) return false;
            items.push_back(
                {std::string(entry.name), entry.type, entry.number.value(), entry.next_cookie});
            return true;
        }));
        if (!items.empty()) cookie_ = items.back().cookie;
        return items;
    }
    Result<void> seek(uint64_t cookie) override {
        cookie_ = cookie;
        return {};
    }

private:
    const VnodeRef vnode_;
    uint64_t cookie_ = 0;
};

class DirectBackend final : public Backend {
public:
    DirectBackend(Target& target, ImageKind kind, std::unique_ptr<host::BlockDevice> device,
                  std::function<void()> finished)
        : target_(target), kind_(kind), clock_({1'600'000'000, 0}, 1000),
          device_(std::move(device)), finished_(std::move(finished)), kernel_({.clock = &clock_}) {
        mount();
    }
    ~DirectBackend() override { root_.reset(); }

    bool can_switch_user() const override { return true; }
    bool can_remount() const override { return true; }
    bool is_direct() const override { return true; }
    bool is_ours() const override { return true; }
    bool asks_at_open() const override { return true; }

    Result<std::unique_ptr<OpenFile>> open(const User& user, std::string_view path, int flags,
                                           uint32_t mode) override {
        const Cred cred = cred_of(user);
        bool made = false;
        VnodeRef vnode = TRY(find_or_make(cred, path, flags, mode, made));
        if (!made) TRY(may_open(*vnode, flags, cred));
        if (flags & O_TRUNC && !made && vnode->is_reg())
            TRY(vfs::setattr(*vnode, AttrChange{.size = 0}, cred));
        return std::unique_ptr<OpenFile>(
            std::make_unique<DirectFile>(std::move(vnode), flags, cred));
    }
    Result<std::unique_ptr<OpenDir>> opendir(const User& user, std::string_view path) override {
        const Cred cred = cred_of(user);
        VnodeRef vnode = TRY(vfs::namei(start(), path, vfs::FollowLast::yes, cred));
        if (!vnode->is_dir()) return Errno::notdir;
        TRY(vfs::access(*vnode, vfs::may_read, cred));
        return std::unique_ptr<OpenDir>(std::make_unique<DirectDir>(std::move(vnode)));
    }
    Result<Attr> stat(const User& user, std::string_view path, bool follow) override {
        return vfs::getattr(*TRY(find(user, path, follow)));
    }
    Result<void> mkdir(const User& user, std::string_view path, uint32_t mode) override {
        const Cred cred = cred_of(user);
        auto parent = TRY(vfs::namei_parent(start(), path, cred));
        TRY(vfs::mkdir(*parent.dir, parent.name,
                       {.type = FileType::dir, .mode = mode, .umask = umask_}, cred));
        return {};
    }
    Result<void> mknod(const User& user, std::string_view path, FileType type, uint32_t mode,
                       DeviceNumber device) override {
        const Cred cred = cred_of(user);
        auto parent = TRY(parent_of_file(path, cred));
        TRY(vfs::create(*parent.dir, parent.name,
                        {.type = type, .mode = mode, .umask = umask_, .rdev = device}, cred));
        return {};
    }
    Result<void> symlink(const User& user, std::string_view to, std::string_view path) override {
        const Cred cred = cred_of(user);
        auto parent = TRY(parent_of_file(path, cred));
        TRY(vfs::symlink(*parent.dir, parent.name, to, cred));
        return {};
    }
    Result<std::string> readlink(const User& user, std::string_view path) override {
        return vfs::readlink(*TRY(find(user, path, false)));
    }
    Result<void> link(const User& user, std::string_view from, std::string_view to) override {
        const Cred cred = cred_of(user);
        VnodeRef vnode = TRY(find(user, from, false));
        auto parent = TRY(parent_of_file(to, cred));
        return vfs::link(*vnode, *parent.dir, parent.name, cred);
    }
    Result<void> unlink(const User& user, std::string_view path) override {
        const Cred cred = cred_of(user);
        auto parent = TRY(vfs::namei_parent(start(), path, cred));
        if (parent.trailing_slash) {
            const VnodeRef victim = TRY(vfs::lookup(*parent.dir, parent.name, cred));
            return victim->is_dir() ? Errno::isdir : Errno::notdir;
        }
        return vfs::unlink(*parent.dir, parent.name, cred);
    }
    Result<void> rmdir(const User& user, std::string_view path) override {
        const Cred cred = cred_of(user);
        auto parent = TRY(vfs::namei_parent(start(), path, cred));
        return vfs::rmdir(*parent.dir, parent.name, cred);
    }
    Result<void> rename(const User& user, std::string_view from, std::string_view to,
                        vfs::RenameMode mode) override {
        const Cred cred = cred_of(user);
        // A system call walks both paths first, and a path is walked with search permission.
        auto source = TRY(vfs::namei_parent(start(), from, cred));
        TRY(vfs::access(*source.dir, vfs::may_exec, cred));
        auto target = TRY(vfs::namei_parent(start(), to, cred));
        TRY(vfs::access(*target.dir, vfs::may_exec, cred));
        if (source.trailing_slash || target.trailing_slash) {
            const VnodeRef vnode = TRY(vfs::lookup(*source.dir, source.name, cred));
            if (!vnode->is_dir()) return Errno::notdir;
        }
        return vfs::rename(*source.dir, source.name, *target.dir, target.name, mode, cred);
    }
    Result<void> chmod(const User& user, std::string_view path, uint32_t mode) override {
        return change(user, path, {.mode = mode}, true);
    }
    Result<void> chown(const User& user, std::string_view path, uint32_t uid, uint32_t gid,
                       bool follow) override {
        AttrChange change;
        if (uid != keep_id) change.uid = uid;
        if (gid != keep_id) change.gid = gid;
        return this->change(user, path, change, follow);
    }
    Result<void> utimes(const User& user, std::string_view path, SetTime atime, SetTime mtime,
                        bool follow) override {
        using Kind = SetTime::Kind;
        VnodeRef vnode = TRY(find(user, path, follow));
        if (atime.kind == Kind::omit && mtime.kind == Kind::omit) return {};
        const Cred cred = cred_of(user);
        if (atime.kind == Kind::now && mtime.kind == Kind::now) {
            TRY(vfs::touch(*vnode, true, true, cred));
            return {};
        }
        AttrChange change;
        const Timespec now = kernel_.now();
        if (atime.kind != Kind::omit) change.atime = atime.kind == Kind::now ? now : atime.at;
        if (mtime.kind != Kind::omit) change.mtime = mtime.kind == Kind::now ? now : mtime.at;
        TRY(vfs::setattr(*vnode, change, cred));
        return {};
    }
    Result<void> truncate(const User& user, std::string_view path, uint64_t size) override {
        return change(user, path, {.size = size}, true);
    }
    Result<void> access(const User& user, std::string_view path, unsigned want) override {
        return vfs::access(*TRY(find(user, path, true)), want, cred_of(user));
    }
    Result<FileFlags> flags(const User& user, std::string_view path) override {
        const Attr attr = TRY(vfs::getattr(*TRY(find(user, path, true))));
        return attr.flags & ~file_flag::indexed;
    }
    Result<void> set_flags(const User& user, std::string_view path, FileFlags flags) override {
        return change(user, path, {.flags = flags}, true);
    }
    Result<std::string> getxattr(const User& user, std::string_view path, const std::string& name,
                                 std::optional<size_t> room) override {
        std::string out(room.value_or(xattr_value_max), '\0');
        const size_t n =
            TRY(vfs::getxattr(*TRY(find(user, path, false)), name, as_room(out), cred_of(user)));
        out.resize(n);
        return out;
    }
    Result<void> setxattr(const User& user, std::string_view path, const std::string& name,
                          std::string_view value, XattrSet how) override {
        return vfs::setxattr(*TRY(find(user, path, false)), name, as_bytes(value), how,
                             cred_of(user));
    }
    Result<void> removexattr(const User& user, std::string_view path,
                             const std::string& name) override {
        return vfs::removexattr(*TRY(find(user, path, false)), name, cred_of(user));
    }
    Result<std::vector<std::string>> listxattr(const User& user, std::string_view path) override {
        std::vector<std::string> names;
        TRY(vfs::listxattr(*TRY(find(user, path, false)), cred_of(user),
                           [&](std::string_view name) { names.emplace_back(name); }));
        return names;
    }
    Result<StatVfs> statvfs() override { return mount_->statvfs(); }
    Result<void> sync() override { return mount_->sync(); }

    Result<std::string> handle(const User& user, std::string_view path) override {
        const VnodeRef vnode = TRY(find(user, path, false));
        const FileHandle handle{vnode->number(), vnode->generation()};
        return std::string(reinterpret_cast<const char*>(&handle), sizeof handle);
    }
    Result<Attr> stat_handle(const std::string& text) override {
        FileHandle handle;
        std::memcpy(&handle, text.data(), sizeof handle);
        return vfs::getattr(*TRY(mount_->from_handle(handle)));
    }

    void set_umask(uint32_t umask) override { umask_ = umask; }
    void tick() override { clock_.advance(target_.traits().time_granularity_ns + 1'000'000); }
    Result<void> remount(bool read_only) override {
        auto done = mount_->remount(read_only);
        return done.ok() ? Result<void>() : Result<void>(done.error().code);
    }
    void reopen() override {
        unmount();
        mount();
    }
    void finish() override {
        unmount();
        if (finished_) finished_();
    }

private:
    void unmount() {
        root_.reset();
        // Nobody holds a vnode any more: EBUSY would be a reference that was not given back.
        if (auto done = kernel_.unmount(*mount_, false); !done.ok())
            throw std::runtime_error("unmount: " + std::string(errno_name(done.error())));
        check_image();
    }

    void mount() {
        MountArgs args;
        if (device_) args.device = std::make_unique<BorrowedDevice>(*device_);
        set_options(args.options.fs);
        auto mounted = kernel_.mount(target_.type(), std::move(args));
        if (!mounted.ok()) throw std::runtime_error("mount: " + mounted.error().text);
        mount_ = *mounted;
        root_ = mount_->root().release_value();
    }

    void set_options(OptionSet& set) {
        std::string all = target_.mount_options(kind_);
        while (!all.empty()) {
            const std::string one = all.substr(0, all.find(','));
            all.erase(0, one.size() + 1);
            const size_t equals = one.find('=');
            std::optional<std::string_view> value;
            if (equals != std::string::npos) value = std::string_view(one).substr(equals + 1);
            auto done = set.set(target_.type().mount_options(), one.substr(0, equals), value);
            if (!done.ok()) throw std::runtime_error(done.error().text);
        }
    }

    void check_image() {
        if (!device_) return;
        check_with_ours(target_, *device_);
        if (target_.checkers().empty()) return;
        test::MemoryFile file(device_->size());
        if (!file.take_from(*device_)) throw std::runtime_error("cannot read the device");
        for (std::vector<std::string> command : target_.checkers()) {
            command.push_back(file.path());
            if (const Exit exit = run(command); exit.code != 0)
                throw std::runtime_error(joined(command) + ": " + exit.output);
        }
    }

    vfs::LookupStart start() const { return {root_, root_}; }

    Result<VnodeRef> find(const User& user, std::string_view path, bool follow) {
        return vfs::namei(start(), path, follow ? vfs::FollowLast::yes : vfs::FollowLast::no,
                          cred_of(user));
    }

    /// For what makes no directory: a trailing slash names what cannot be.
    Result<vfs::ParentOf> parent_of_file(std::string_view path, const Cred& cred) {
        auto parent = TRY(vfs::namei_parent(start(), path, cred));
        if (parent.trailing_slash) {
            auto there = vfs::lookup(*parent.dir, parent.name, cred);
            return there.ok() ? Errno::exist : there.error();
        }
        return parent;
    }

    Result<void> change(const User& user, std::string_view path, const AttrChange& change,
                        bool follow) {
        TRY(vfs::setattr(*TRY(find(user, path, follow)), change, cred_of(user)));
        return {};
    }

    Result<VnodeRef> find_or_make(const Cred& cred, std::string_view path, int flags, uint32_t mode,
                                  bool& made) {
        const bool follow = (flags & O_NOFOLLOW) == 0;
        if ((flags & O_CREAT) == 0) {
            VnodeRef vnode = TRY(vfs::namei(
                start(), path, follow ? vfs::FollowLast::yes : vfs::FollowLast::no, cred));
            return vnode;
        }
        vfs::LookupStart from = start();
        std::string rest(path);
        for (unsigned links = 0; links <= symlink_max; ++links) {
            auto parent = TRY(vfs::namei_parent(from, rest, cred));
            if (parent.trailing_slash) return Errno::isdir;
            auto there = vfs::lookup(*parent.dir, parent.name, cred);
            if (!there.ok()) {
                if (there.error() != Errno::noent) return there.error();
                made = true;
                return vfs::create(*parent.dir, parent.name, {.mode = mode, .umask = umask_}, cred);
            }
            if (flags & O_EXCL) return Errno::exist;
            if ((*there)->type() != FileType::lnk || !follow) return there;
            rest = TRY(vfs::readlink(**there));
            from.cwd = parent.dir;
        }
        return Errno::loop;
    }

    static Result<void> may_open(Vnode& vnode, int flags, const Cred& cred) {
        const int mode = flags & O_ACCMODE;
        const bool write = mode != O_RDONLY;
        if (vnode.type() == FileType::lnk) return Errno::loop;
        if (flags & O_DIRECTORY && !vnode.is_dir()) return Errno::notdir;
        if (vnode.is_dir() && (write || flags & O_CREAT)) return Errno::isdir;
        unsigned want = 0;
        if (mode != O_WRONLY) want |= vfs::may_read;
        if (write || flags & O_TRUNC) want |= vfs::may_write;
        TRY(vfs::access(vnode, want, cred));
        // As open(2) judges append-only files.
        const Attr attr = TRY(vfs::getattr(vnode));
        if (attr.flags & (file_flag::append | file_flag::user_append) &&
            ((write && (flags & O_APPEND) == 0) || flags & O_TRUNC))
            return Errno::perm;
        return {};
    }

    Target& target_;
    const ImageKind kind_;
    host::VirtualClock clock_;
    const std::unique_ptr<host::BlockDevice> device_; // null: the type needs none
    const std::function<void()> finished_;
    Kernel kernel_;
    Mount* mount_ = nullptr;
    VnodeRef root_;
    uint32_t umask_ = 0;
};

} // namespace

std::unique_ptr<Backend> make_direct_backend(Target& target, ImageKind kind) {
    host::BlockDevice* image = target.image(kind);
    return make_direct_backend(target, kind, image ? host::make_memory_overlay(*image) : nullptr,
                               {});
}

std::unique_ptr<Backend> make_direct_backend(Target& target, ImageKind kind,
                                             std::unique_ptr<host::BlockDevice> device,
                                             std::function<void()> finished) {
    return std::make_unique<DirectBackend>(target, kind, std::move(device), std::move(finished));
}

} // namespace rump::conformance
