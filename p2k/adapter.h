// The adapter between FUSE requests and vnode operations (NetBSD's p2k, "puffs to kernel"). One per
// mounted session; a file per family of requests:
//
//     requests_node.cc   lookup, forget, getattr, setattr, access, statfs, open
//     requests_name.cc   mknod, create, mkdir, symlink, link, unlink, rmdir, rename, readlink
//     requests_data.cc   read, write, fsync, fallocate, lseek, copy_file_range
//     requests_dir.cc    readdir, readdirplus, fsyncdir
//     requests_xattr.cc  the four xattr calls, and the counters as one of the root
//     requests_ioctl.cc  file flags, FITRIM
//
// Every request is answered by the thread that runs it, with no lock held; but what is read by
// splice(2), under its vnode's. No exception leaves a request: memory exhaustion is its ENOMEM.
#pragma once

#include "kernel/kern/kernel.h"
#include "kernel/sys/mount.h"
#include "kernel/vfs/vfs_ops.h"
#include "p2k/fuse.h"
#include "p2k/fuse_statx.h"
#include "p2k/late_errors.h"
#include "p2k/node_table.h"

#include <new>
#include <string>

namespace rump::p2k {

/// Who decides whether a caller may.
enum class Permissions : uint8_t {
    host,   // the host's kernel, by the attributes that it has (default_permissions)
    caller, // we, by the caller's user id; opening is not checked: for mounts that only root enters
    fakeroot, // nobody: every operation is allowed, new files belong to root
};

struct AdapterOptions {
    Permissions permissions = Permissions::host;
    /// The host keeps entries and attributes for ever, and never asks to open or close. Not with
    /// allow_root: there each path is checked by a request.
    bool cache_forever = true;
    /// A file is on the device once it is closed.
    bool flush_on_close = false;
    /// Bytes of the largest write, and of the buffers that `reply_buffer` hands out.
    uint32_t max_write = 1u << 20;
};

/// What the adapter needs of the thread that runs a request.
class RequestThread {
public:
    /// At least `size` bytes (up to max_write + 4096) for the answer's payload, valid until the
    /// answer; where the transport can, the bytes travel from here without a copy. ENOMEM.
    virtual Result<std::span<std::byte>> reply_buffer(size_t size) = 0;
    /// The request as the host sent it: fuse_in_header and what follows.
    virtual std::span<const std::byte> message() const = 0;
    /// The answer may go by splice(2) from a descriptor.
    virtual bool may_splice() const = 0;

protected:
    ~RequestThread() = default;
};

/// What the adapter needs of the session.
class RequestHost {
public:
    virtual RequestThread& this_thread() = 0;
    /// JSON: what `user.rump.counters` of the root says.
    virtual std::string counters_json() = 0;
    /// Returns when the files that the host has let go of until now are forgotten, and their space
    /// is free; at the latest after a second.
    virtual void settle_forgets() = 0;
    /// The host asks for the node's attributes anew when it needs them. Takes no lock.
    virtual void forget_attributes(NodeId id) = 0;

protected:
    ~RequestHost() = default;
};

class Adapter {
public:
    /// ESTALE, EIO, EUCLEAN: there is no root.
    static Result<std::unique_ptr<Adapter>> create(Mount& mount, RequestHost& host,
                                                   const AdapterOptions& options);

    static const fuse_lowlevel_ops& operations();
    RequestHost& host() { return host_; }
    NodeTable& nodes() { return nodes_; }
    const AdapterOptions& options() const { return options_; }
    /// What the host shall be told in the answer to INIT beyond what libfuse knows: FUSE_* flags.
    uint64_t extra_init_flags() const;
    bool offers_uring() const { return offers_uring_; }
    /// FUSE_SYNCFS, which libfuse 3.14 does not know.
    Result<void> sync() { return mount_.sync(); }
    /// FUSE_STATX, which it does not know either: stat(2), and when the file was made.
    Result<uapi::StatxOut> statx(NodeId id);

private:
    struct Requests; // the functions of operations(), by family
    template<class F>
    friend void answer(fuse_req_t req, F&& body) noexcept;

    Adapter(Mount& mount, RequestHost& host, const AdapterOptions& options, uint64_t dense_limit);

    /// Negotiates with the kernel of the host.
    void init(fuse_conn_info& conn);

    Cred cred_of(uint32_t uid, uint32_t gid) const {
        if (options_.permissions == Permissions::fakeroot) return Cred::superuser();
        if (options_.permissions == Permissions::caller) return Cred(uid, gid);
        return Cred::host_checked(uid, gid);
    }
    Cred cred(fuse_req_t req) const {
        const fuse_ctx* context = fuse_req_ctx(req);
        return cred_of(context->uid, context->gid);
    }
    /// ESTALE: the host has no lookup on it.
    Result<Vnode*> node(NodeId id) {
        if (Vnode* vnode = nodes_.find(id)) return vnode;
        return Errno::stale;
    }
    double attr_timeout() const { return options_.cache_forever ? 1e9 : 0; }

    struct stat to_stat(const Attr& attr) const;
    /// Counts a lookup of `vnode` and describes it.
    Result<fuse_entry_param> make_entry(VnodeRef vnode);
    /// Answers a lookup or a creation.
    Result<void> reply_entry(fuse_req_t req, VnodeRef vnode);
    Result<void> reply_attr(fuse_req_t req, const Attr& attr) const;
    /// Answers a read from the device's file, past our memory. False: nothing is answered, and
    /// somebody else may do it.
    Result<bool> reply_spliced(fuse_req_t req, Vnode& vnode, uint64_t offset, size_t size);
    Result<size_t> write_back(Vnode& vnode, uint64_t offset, std::span<const std::byte> data);
    Result<size_t> write_back_append(Vnode& vnode, uint64_t offset,
                                     std::span<const std::byte> data);

    Mount& mount_;
    RequestHost& host_;
    const AdapterOptions options_;
    NodeTable nodes_;
    LateErrors late_errors_;

    // set by init(), before any other request
    bool no_open_ = false;
    bool no_opendir_ = false;
    bool killpriv_v2_ = false;
    bool offers_uring_ = false;
};

/// Runs the body of one request, which answers it on success, and answers with the error otherwise.
/// Space of removed files comes back with their forgets, which the host sends when it likes: a body
/// that finds none is run again after them.
template<class F>
void answer(fuse_req_t req, F&& body) noexcept {
    Errno error;
    try {
        Adapter& self = *static_cast<Adapter*>(fuse_req_userdata(req));
        Result<void> result = body(self);
        if (!result.ok() && result.error() == Errno::nospc) {
            self.host_.settle_forgets();
            result = body(self);
        }
        if (result.ok()) return;
        error = result.error();
    } catch (const std::bad_alloc&) {
        error = Errno::nomem;
    }
    fuse_reply_err(req, to_int(error));
}

/// The functions, a family each; Adapter::operations puts them into one table.
struct Adapter::Requests {
    static void init(void* self, fuse_conn_info* conn);
    static void lookup(fuse_req_t req, fuse_ino_t parent, const char* name);
    static void forget(fuse_req_t req, fuse_ino_t id, uint64_t count);
    static void forget_multi(fuse_req_t req, size_t count, fuse_forget_data* forgets);
    static void getattr(fuse_req_t req, fuse_ino_t id, fuse_file_info* file);
    static void setattr(fuse_req_t req, fuse_ino_t id, struct stat* attr, int to_set,
                        fuse_file_info* file);
    static void access(fuse_req_t req, fuse_ino_t id, int mask);
    static void statfs(fuse_req_t req, fuse_ino_t id);
    static void open(fuse_req_t req, fuse_ino_t id, fuse_file_info* file);
    static void opendir(fuse_req_t req, fuse_ino_t id, fuse_file_info* file);

    static void mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev);
    static void create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
                       fuse_file_info* file);
    static void mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode);
    static void symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name);
    static void link(fuse_req_t req, fuse_ino_t id, fuse_ino_t parent, const char* name);
    static void unlink(fuse_req_t req, fuse_ino_t parent, const char* name);
    static void rmdir(fuse_req_t req, fuse_ino_t parent, const char* name);
    static void rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t to_parent,
                       const char* to_name, unsigned flags);
    static void readlink(fuse_req_t req, fuse_ino_t id);

    static void read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                     fuse_file_info* file);
    static void write(fuse_req_t req, fuse_ino_t id, const char* data, size_t size, off_t offset,
                      fuse_file_info* file);
    static void flush(fuse_req_t req, fuse_ino_t id, fuse_file_info* file);
    static void fsync(fuse_req_t req, fuse_ino_t id, int data_only, fuse_file_info* file);
    static void fallocate(fuse_req_t req, fuse_ino_t id, int mode, off_t offset, off_t length,
                          fuse_file_info* file);
    static void lseek(fuse_req_t req, fuse_ino_t id, off_t offset, int whence,
                      fuse_file_info* file);
    static void copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset,
                                fuse_file_info* from_file, fuse_ino_t to, off_t to_offset,
                                fuse_file_info* to_file, size_t length, int flags);

    static void readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                        fuse_file_info* file);
    static void readdirplus(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                            fuse_file_info* file);

    static void setxattr(fuse_req_t req, fuse_ino_t id, const char* name, const char* value,
                         size_t size, int flags);
    static void getxattr(fuse_req_t req, fuse_ino_t id, const char* name, size_t size);
    static void listxattr(fuse_req_t req, fuse_ino_t id, size_t size);
    static void removexattr(fuse_req_t req, fuse_ino_t id, const char* name);

    static void ioctl(fuse_req_t req, fuse_ino_t id, unsigned command, void* argument,
                      fuse_file_info* file, unsigned flags, const void* in, size_t in_size,
                      size_t out_size);

private:
    struct DirFill;
};

} // namespace rump::p2k
