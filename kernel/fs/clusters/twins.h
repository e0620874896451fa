// Two names for one chain, which a cut rename leaves: the new entry is on the device before the old
// one goes. Looked for when a volume is mounted that was not unmounted cleanly.
//
//   directories   one name counts: the one in the directory that its ".." leads to, where the
//                 format has that, else the first that is met from the root. The other one is
//                 hidden, and goes when writing begins.
//   files         both names stay, as nothing says which is the old one, and the new one may stand
//                 for a file that was replaced. They share their clusters until one is removed, or
//                 changed, which gets clusters of its own first.
#pragma once

#include "kernel/fs/clusters/table.h"

#include "hostshim/block_device.h"
#include "hostshim/function_ref.h"
#include "hostshim/lock.h"

#include <atomic>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace rump::clusters {

/// What a format tells the search, of bytes that may be damaged: what is no name is passed over in
/// silence.
class NameReader {
public:
    struct Name {
        uint32_t slot = 0;
        uint32_t first = 0; // cluster, or a number that is none
        uint32_t run = 0;   // clusters, where no chain says which; 0: a chain does
        bool directory = false;
    };
    virtual void each_name(std::span<const std::byte> directory,
                           FunctionRef<void(const Name&)> give) = 0;
    /// The first cluster of the parent, 0 for the root, by the first bytes of a directory. None:
    /// they do not say.
    virtual std::optional<uint32_t> parent(std::span<const std::byte> head) = 0;
    static constexpr size_t head_size = 64;

protected:
    ~NameReader() = default;
};

class Twins {
public:
    /// The root directory: a chain from `first`, or, if that is 0, `length` bytes at `offset`.
    struct Root {
        uint32_t first;
        uint64_t offset = 0;
        uint64_t length = 0;
    };
    /// Reads all directories, each cluster once, 16 MiB of each. What cannot be read is left out.
    /// Called once, before anything else.
    void search(host::BlockDevice& device, const Heap& heap, ChainTable& table, const Root& root,
                NameReader& reader);
    /// "2 directories, 1 file", for the log; empty: none.
    std::string found() const;

    /// A directory's name that does not count.
    struct Hidden {
        uint64_t directory; // where the entry of the directory is that the name stands in; 0: root
        uint32_t slot;
        uint64_t position; // of the entry
    };
    bool hides(uint64_t position) const;
    std::vector<Hidden> hidden() const;
    /// The entry goes.
    void dropped(const Hidden& name);

    /// Another name leads to the chain that begins at `first`.
    bool shares(Cluster first) const;
    /// One of these names does so no longer. True: another one does.
    bool leave(Cluster first);

private:
    class Search;

    std::atomic<bool> any_hidden_{false};
    std::atomic<bool> any_shared_{false};
    mutable host::Mutex mutex_{host::Rank::leaf};
    std::unordered_map<uint64_t, Hidden> hidden_ GUARDED_BY(mutex_);   // by position
    std::unordered_map<uint32_t, uint32_t> shared_ GUARDED_BY(mutex_); // by first cluster: names
};

} // namespace rump::clusters
