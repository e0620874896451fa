// Errors that came too late: of bytes that the host took into its cache, told write(2) a success,
// and found no room for when it wrote them back.
//
// fsync(2) and close(2) report those, but a program that writes until a disk is full asks neither,
// and would never end. So the next write to the file reports it, too: the host is told to ask for
// the attributes before it writes on (RequestHost::forget_attributes), and that it asks for a
// write, through an open file, shows in the request. stat(2) and reading ask in other ways.
#pragma once

#include "hostshim/lock.h"
#include "kernel/sys/vnode.h"

#include <atomic>
#include <optional>
#include <unordered_map>

namespace rump::p2k {

class LateErrors {
public:
    /// Only what write(2) of a local file would have said itself: ENOSPC, EDQUOT, EFBIG.
    static bool concerns(Errno error) {
        return error == Errno::nospc || error == Errno::dquot || error == Errno::fbig;
    }
    void note(const Vnode& vnode, Errno error);
    /// What the next write shall say, once. Who comes much later is another writer.
    std::optional<Errno> take(const Vnode& vnode);

private:
    struct Late {
        uint32_t generation;
        Errno error;
        uint64_t noted_ns;
    };
    std::atomic<size_t> count_{0};
    host::Mutex mutex_{host::Rank::p2k};
    std::unordered_map<uint64_t, Late> by_number_ GUARDED_BY(mutex_);
};

} // namespace rump::p2k
