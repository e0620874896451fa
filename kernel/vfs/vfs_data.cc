// Generic operations on file data and on what is read of directories and symbolic links.
#include "kernel/vfs/generic_io.h"
#include "kernel/vfs/vfs_internal.h"

#include <algorithm>

namespace rump::vfs {

namespace {

constexpr uint64_t offset_max = INT64_MAX;
constexpr size_t copy_piece = 1u << 18;

Result<void> check_file(const Vnode& vnode) {
    TRY(check_alive(vnode.mount()));
    if (vnode.is_dir()) return Errno::isdir;
    if (!vnode.is_reg()) return Errno::inval;
    return {};
}

/// Set-id bits and file capabilities go when others than the superuser change a file.
Result<void> drop_privileges(Vnode& vnode, const Attr& attr, const Cred& cred, bool keep_setid) {
    if (keep_setid) return {};
    drop_capabilities(vnode, attr);
    if (cred.is_superuser()) return {};
    uint32_t killed = without_setid(attr, cred) ^ attr.mode;
    if (!killed) return {};
    AttrChange change;
    change.mode = TRY(vnode.getattr()).mode & ~killed;
    return vnode.setattr(change);
}

/// The write itself. When space runs out half-way, what the last commit's successors freed may
/// help.
Result<size_t> write_locked(Vnode& vnode, uint64_t offset, std::span<const std::byte> data,
                            bool privileged) {
    size_t done = 0;
    bool committed = !vnode.mount().has_device();
    while (true) {
        auto written = vnode.write(offset + done, data.subspan(done), privileged);
        if (written) done += *written;
        if (done == data.size()) return done;
        bool full = written || written.error() == Errno::nospc;
        if (full && !committed && vnode.mount().epoch().commit(true).ok()) {
            committed = true;
            continue;
        }
        if (done > 0) return done;
        if (written) return Errno::nospc;
        return written.error();
    }
}

struct WriteArgs {
    std::span<const std::byte> data;
    const Cred& cred;
    bool keep_setid = false;
    bool at_end = false;     // append: the offset is the file's size
    bool keep_times = false; // somebody else says when the file was written
};

/// After a write that is not to show in the times; `before` is what they were.
Result<void> restore_times(Vnode& vnode, const Attr& before) {
    const Attr now = TRY(vnode.getattr());
    if (now.mtime == before.mtime && now.ctime == before.ctime) return {};
    AttrChange change;
    change.mtime = before.mtime;
    change.ctime = before.ctime;
    return vnode.setattr(change);
}

/// Bytes written; `offset` is where they went.
Result<size_t> write_anywhere(Vnode& vnode, uint64_t& offset, const WriteArgs& args) {
    TRY(check_file(vnode));
    TRY(check_writable(vnode.mount()));
    FileFlags flags = 0;
    size_t written = 0;
    {
        host::ExclusiveGuard guard(vnode.lock);
        Attr attr = TRY(attributes(vnode));
        if (args.at_end) offset = attr.size;
        if (attr.flags & immutable_flags) return Errno::perm;
        if ((attr.flags & append_flags) && offset != attr.size) return Errno::perm;
        uint64_t limit = std::min(vnode.mount().traits().max_file_size, offset_max);
        if (args.data.empty()) return size_t{0};
        if (offset >= limit) return Errno::fbig;
        auto data = args.data.first(std::min<uint64_t>(args.data.size(), limit - offset));
        TRY(drop_privileges(vnode, attr, args.cred, args.keep_setid));
        written = TRY(write_locked(vnode, offset, data, vnode.mount().may_use_reserved(args.cred)));
        if (args.keep_times) TRY(restore_times(vnode, attr));
        flags = attr.flags;
    }
    TRY(settle(vnode.mount(), flags, file_flag::sync));
    return written;
}

/// Calls `operation` with the vnode locked shared, and notes the access when it succeeded.
template<class F>
auto with_access(Vnode& vnode, F&& operation) -> decltype(operation()) {
    bool note = false;
    auto result = [&] {
        host::SharedGuard guard(vnode.lock);
        auto inner = operation();
        if (inner.ok()) note = wants_access_time(vnode);
        return inner;
    }();
    if (note) note_access(vnode);
    return result;
}

} // namespace

Result<size_t> read(Vnode& vnode, uint64_t offset, std::span<std::byte> out) {
    TRY(check_file(vnode));
    if (offset > offset_max) return Errno::inval;
    out = out.first(std::min<uint64_t>(out.size(), offset_max - offset));
    if (out.empty()) return size_t{0};
    return with_access(vnode, [&] { return vnode.read(offset, out); });
}

Result<size_t> write(Vnode& vnode, uint64_t offset, std::span<const std::byte> data,
                     const Cred& cred, bool keep_setid) {
    return write_anywhere(vnode, offset, {.data = data, .cred = cred, .keep_setid = keep_setid});
}

Result<size_t> write_back(Vnode& vnode, uint64_t offset, std::span<const std::byte> data,
                          FunctionRef<Cred(const Attr&)> payer) {
    // Of a page across the format's limit nothing.
    const uint64_t limit = vnode.mount().traits().max_file_size;
    if (offset > limit || data.size() > limit - offset) return Errno::fbig;
    TRY(check_file(vnode));
    TRY(check_writable(vnode.mount()));
    Attr attr;
    bool done = false;
    {
        host::SharedGuard guard(vnode.lock);
        attr = TRY(attributes(vnode));
        if (!(attr.flags & (immutable_flags | append_flags)))
            done = TRY(overwrite(vnode, offset, data));
    }
    if (done) {
        TRY(settle(vnode.mount(), attr.flags, file_flag::sync));
        return data.size();
    }
    const Cred owner = payer(attr);
    for (size_t written = 0; written < data.size();) {
        uint64_t at = offset + written;
        written += TRY(write_anywhere(vnode, at,
                                      {.data = data.subspan(written),
                                       .cred = owner,
                                       .keep_setid = true,
                                       .keep_times = true}));
    }
    return data.size();
}

Result<uint64_t> append(Vnode& vnode, std::span<const std::byte> data, const Cred& cred) {
    uint64_t offset = 0;
    size_t written =
        TRY(write_anywhere(vnode, offset, {.data = data, .cred = cred, .at_end = true}));
    if (written < data.size()) return Errno::nospc;
    return offset;
}

Result<void> with_extents(Vnode& vnode, uint64_t offset, uint64_t length,
                          FunctionRef<Result<void>(const ExtentList&)> use) {
    TRY(check_file(vnode));
    if (offset > offset_max) return Errno::inval;
    length = std::min(length, offset_max - offset);
    return with_access(vnode, [&]() -> Result<void> {
        ExtentList extents;
        TRY(vnode.map(offset, length, extents));
        return use(extents);
    });
}

Result<uint64_t> copy_range(Vnode& from, uint64_t from_offset, Vnode& to, uint64_t to_offset,
                            uint64_t length, const Cred& cred) {
    if (&from.mount() != &to.mount()) return Errno::xdev;
    TRY(check_file(from));
    TRY(check_file(to));
    TRY(check_writable(to.mount()));
    if (from_offset > offset_max || to_offset > offset_max) return Errno::inval;
    uint64_t size = TRY(getattr(from)).size;
    if (from_offset >= size) return uint64_t{0};
    length = std::min({length, size - from_offset, offset_max - to_offset});
    uint64_t gap = from_offset > to_offset ? from_offset - to_offset : to_offset - from_offset;
    if (&from == &to && gap < length) return Errno::inval;

    std::vector<std::byte> buffer(std::min<uint64_t>(length, copy_piece));
    uint64_t done = 0;
    while (done < length) {
        auto piece = std::span(buffer).first(std::min<uint64_t>(buffer.size(), length - done));
        auto got = read(from, from_offset + done, piece);
        auto put = got && *got > 0 ? write(to, to_offset + done, piece.first(*got), cred) : got;
        if (!put && done == 0) return put.error();
        if (!put || *put == 0) break;
        done += *put;
        if (*put < piece.size()) break;
    }
    return done;
}

Result<void> fallocate(Vnode& vnode, uint64_t offset, uint64_t length, Fallocate mode,
                       const Cred& cred) {
    Mount& mount = vnode.mount();
    TRY(check_alive(mount));
    if (length == 0 || offset > offset_max) return Errno::inval;
    if (vnode.is_dir()) return Errno::isdir;
    if (!vnode.is_reg()) return Errno::nodev;
    TRY(check_writable(mount));
    uint64_t limit = std::min(mount.traits().max_file_size, offset_max);
    if (length > limit || offset > limit - length) return Errno::fbig;
    FileFlags flags = 0;
    {
        host::ExclusiveGuard guard(vnode.lock);
        Attr attr = TRY(attributes(vnode));
        bool keep = mode == Fallocate::keep_size || mode == Fallocate::zero_keep_size;
        bool zero = mode == Fallocate::zero_range || mode == Fallocate::zero_keep_size;
        bool plain = mode == Fallocate::allocate || mode == Fallocate::keep_size;
        if (attr.flags & immutable_flags) return Errno::perm;
        if ((attr.flags & append_flags) && !plain) return Errno::perm;
        TRY(drop_privileges(vnode, attr, cred, false));
        if (mode == Fallocate::punch_hole) {
            TRY(with_space(mount, [&] { return vnode.deallocate(offset, length); }));
        } else {
            if (!keep && offset + length > attr.size)
                TRY(zero_past_end(vnode, attr.size, offset + length));
            const bool reserved = mount.may_use_reserved(cred);
            TRY(with_space(mount,
                           [&] { return vnode.allocate(offset, length, keep, zero, reserved); }));
        }
        flags = attr.flags;
    }
    return settle(mount, flags, file_flag::sync);
}

Result<uint64_t> seek(Vnode& vnode, uint64_t offset, Seek what) {
    TRY(check_file(vnode));
    if (offset > offset_max) return Errno::nxio;
    host::SharedGuard guard(vnode.lock);
    return vnode.seek(offset, what);
}

Result<void> readdir(Vnode& dir, uint64_t cookie, DirSink sink) {
    TRY(check_alive(dir.mount()));
    if (!dir.is_dir()) return Errno::notdir;
    return with_access(dir, [&]() -> Result<void> {
        if (dir.unlinked()) return Errno::noent;
        return dir.readdir(cookie, sink);
    });
}

Result<std::string> readlink(Vnode& vnode) {
    TRY(check_alive(vnode.mount()));
    if (vnode.type() != FileType::lnk) return Errno::inval;
    return with_access(vnode, [&] { return vnode.readlink(); });
}

Result<void> fsync(Vnode& vnode, bool data_only) {
    TRY(check_alive(vnode.mount()));
    return vnode.fsync(data_only);
}

} // namespace rump::vfs
