// The library's handle: opening, releasing, and what concerns a file system as a whole.
#include "ukfs/instance.h"

#include "images/identify.h"
#include "images/image.h"
#include "kernel/sys/mount_options.h"
#include "ukfs/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

using namespace rump;
using namespace rump::ukfslib;

namespace rump::ukfslib {

void MessageKeeper::message(host::LogLevel level, std::string_view text) {
    if (level == host::LogLevel::error) {
        host::MutexGuard guard(mutex_);
        last_ = text;
    }
    if (callback_) callback_(argument_, static_cast<int>(level), std::string(text).c_str());
}

std::string MessageKeeper::last() const {
    host::MutexGuard guard(mutex_);
    return last_;
}

void copy_text(std::string_view text, char* out, size_t size) {
    if (size == 0) return;
    size_t length = std::min(text.size(), size - 1);
    std::memcpy(out, text.data(), length);
    out[length] = '\0';
}

namespace {

/// "this is an ext4 image" after a refusal that did not say what the image is.
Failure with_identity(Failure failure, std::string_view image, images::ImageOptions options) {
    if (failure.code != Errno::inval) return failure;
    options.access = host::Access::read_only;
    auto device = images::open(image, options);
    if (!device.ok()) return failure;
    std::string identity = images::what_it_is(**device);
    if (failure.text.find(identity) == failure.text.npos) failure.text += "; " + identity;
    return failure;
}

FailureOr<void> open_instance(ukfs& fs, const char* image, const ukfs_open_args& args) {
    // First only for what concerns the image, for its type may not be known yet.
    const FileSystemType* named = nullptr;
    if (args.type) named = TRY(named_type(args.type));
    auto options = TRY(parse_options(view(args.options), named, Purpose::mount));
    if (args.read_only) options.mount.read_only = true;

    std::unique_ptr<host::BlockDevice> device;
    if (image) {
        if (named && !named->needs_device())
            return Failure(Errno::inval, fmt::format("{} takes no image", named->name()));
        bool writing = !options.mount.read_only;
        options.image.access = writing ? host::Access::read_write : host::Access::read_only;
        device = TRY(images::open(image, options.image));
    } else if (named && named->needs_device()) {
        return Failure(Errno::inval, fmt::format("{} needs an image", named->name()));
    }
    if (!named && !device) return Failure(Errno::inval, "without an image the type must be named");
    const FileSystemType* type = named ? named : TRY(type_of(*device));
    images::ImageOptions image_options = options.image;
    if (!named) {
        options = TRY(parse_options(view(args.options), type, Purpose::mount));
        if (args.read_only) options.mount.read_only = true;
    }
    TRY(check_mount_options(options.mount));

    MountArgs mount_args{.device = std::move(device), .options = std::move(options.mount)};
    auto mounted = fs.kernel.mount(*type, std::move(mount_args));
    if (!mounted.ok())
        return image ? with_identity(mounted.error(), image, image_options) : mounted.error();
    fs.mount = *mounted;
    fs.start.root = TRY(fs.mount->root());
    fs.start.cwd = fs.start.root;
    return {};
}

} // namespace
} // namespace rump::ukfslib

ukfs::ukfs(void (*callback)(void*, int, const char*), void* argument, bool background)
    : messages(callback, argument),
      log([this](host::LogLevel level, std::string_view text) { messages.message(level, text); },
          host::LogLevel::debug),
      kernel({.log = &log, .background = background}) {}

void ukfs::drop() {
    if (references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

int ukfs_open(const char* image, const ukfs_open_args* args, ukfs** out, ukfs_error* error) {
    return call_with_error(error, [&]() -> FailureOr<void> {
        const ukfs_open_args defaults{};
        const ukfs_open_args& given = args ? *args : defaults;
        *out = nullptr;
        auto fs = std::make_unique<ukfs>(given.log, given.log_arg, given.background != 0);
        TRY(open_instance(*fs, image, given));
        *out = fs.release();
        return {};
    });
}

int ukfs_release(ukfs* fs, int force) {
    int result = call([&]() -> Result<void> {
        fs->start = {};
        auto unmounted = fs->kernel.unmount(*fs->mount, force != 0);
        if (!unmounted.ok() && unmounted.error() == Errno::busy) {
            fs->start.root = TRY(fs->mount->root());
            fs->start.cwd = fs->start.root;
        }
        return unmounted;
    });
    if (result != -to_int(Errno::busy)) fs->drop();
    return result;
}

int ukfs_set_user(ukfs* fs, uint32_t uid, uint32_t gid, const uint32_t* groups,
                  size_t group_count) {
    return call([&]() -> Result<void> {
        fs->cred = Cred(uid, gid, std::vector<uint32_t>(groups, groups + group_count));
        return {};
    });
}

size_t ukfs_error_text(ukfs* fs, int error, char* text, size_t size) {
    const auto code = static_cast<Errno>(error < 0 ? -error : error);
    std::string_view plain = errno_message(code);
    try {
        // The place is known of what the file system has logged as an error: damage and lost
        // writes.
        bool logged = fs && (code == Errno::uclean || code == Errno::io || code == Errno::rofs);
        std::string last = logged ? fs->messages.last() : std::string();
        std::string full = last.empty() ? std::string(plain) : fmt::format("{}: {}", plain, last);
        copy_text(full, text, size);
        return full.size();
    } catch (const std::bad_alloc&) {
        copy_text(plain, text, size);
        return plain.size();
    }
}

int ukfs_statvfs(ukfs* fs, struct ukfs_statvfs* out) {
    return call([&]() -> Result<void> {
        StatVfs from = TRY(fs->mount->statvfs());
        *out = {.block_size = from.block_size,
                .fragment_size = from.fragment_size,
                .blocks = from.blocks,
                .blocks_free = from.blocks_free,
                .blocks_available = from.blocks_available,
                .files = from.files,
                .files_free = from.files_free,
                .fsid = from.fsid,
                .name_max = from.name_max,
                .read_only = fs->mount->read_only()};
        return {};
    });
}

int ukfs_sync(ukfs* fs) {
    return call([&] { return fs->mount->sync(); });
}

int ukfs_info(ukfs* fs, void (*fact)(void*, const char*, const char*), void* arg) {
    return call([&]() -> Result<void> {
        fact(arg, "type", std::string(fs->mount->type().name()).c_str());
        for (const auto& [name, value] : fs->mount->describe())
            fact(arg, name.c_str(), value.c_str());
        return {};
    });
}

int ukfs_counters(ukfs* fs, void (*counter)(void*, const char*, uint64_t), void* arg) {
    return call([&]() -> Result<void> {
        fs->kernel.counters().each([&](std::string_view name, uint64_t value) {
            counter(arg, std::string(name).c_str(), value);
        });
        return {};
    });
}
