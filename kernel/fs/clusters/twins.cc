// The search for names that a cut rename left twice.
#include "kernel/fs/clusters/twins.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

namespace rump::clusters {

using host::MutexGuard;

/// Breadth first, so that of two names the one nearer to the root is met first, and every directory
/// that counts can be reached.
class Twins::Search {
public:
    Search(host::BlockDevice& device, const Heap& heap, ChainTable& table, NameReader& reader)
        : device_(device), heap_(heap), table_(table), reader_(reader) {}

    void run(const Root& root) {
        directories_.push_back({root.first, 0, 0, 0, 0});
        if (root.first != 0) by_first_.emplace(root.first, 0);
        for (size_t at = 0; at < directories_.size(); at++) {
            Bytes bytes = at == 0 && root.first == 0 ? read_area(root) : read_chain(at);
            reader_.each_name(bytes.bytes,
                              [&](const NameReader::Name& name) { meet(at, bytes, name); });
        }
        std::sort(files_.begin(), files_.end());
    }

    std::vector<Hidden> hidden() const {
        std::vector<Hidden> list;
        for (const Lost& lost : lost_)
            list.push_back({directories_[lost.parent].position, lost.slot, lost.position});
        return list;
    }
    /// First clusters of files, in order; one that comes up twice is shared.
    const std::vector<uint32_t>& files() const { return files_; }

private:
    struct Found {
        uint32_t first;
        uint32_t run;
        size_t parent;     // index
        uint32_t slot;     // of the name that counts
        uint64_t position; // of its entry
    };
    struct Lost {
        size_t parent;
        uint32_t slot;
        uint64_t position;
    };
    /// A directory, in pieces of one size.
    struct Bytes {
        std::vector<std::byte> bytes;
        std::vector<uint64_t> pieces; // where they are on the device
        uint64_t piece_size = 0;
        uint64_t position(uint64_t at) const { return pieces[at / piece_size] + at % piece_size; }
    };

    void append(Bytes& to, uint64_t offset) {
        size_t at = to.bytes.size();
        to.bytes.resize(at + to.piece_size);
        if (device_.read(offset, std::span(to.bytes).subspan(at)))
            to.pieces.push_back(offset);
        else
            to.bytes.resize(at);
    }

    Bytes read_area(const Root& root) {
        Bytes bytes;
        bytes.piece_size = root.length;
        append(bytes, root.offset);
        return bytes;
    }

    Bytes read_chain(size_t directory) {
        Bytes bytes;
        bytes.piece_size = heap_.cluster_size;
        ChainTable::Cursor cursor;
        uint32_t at = directories_[directory].first, left = directories_[directory].run;
        while (heap_.is_cluster(at) && bytes.bytes.size() < most_bytes &&
               visited_.insert(at).second) {
            append(bytes, heap_.offset_of(Cluster(at)));
            if (left > 0) {
                if (--left == 0) break;
                at++;
                continue;
            }
            auto entry = table_.get(Cluster(at), cursor);
            if (!entry || entry->kind != FatEntry::Kind::next) break;
            at = entry->next.value();
        }
        return bytes;
    }

    void meet(size_t in, const Bytes& bytes, const NameReader::Name& name) {
        if (!heap_.is_cluster(name.first)) return;
        if (!name.directory) return files_.push_back(name.first);
        uint64_t position = bytes.position(uint64_t{name.slot} * dirent_size);
        auto [known, fresh] = by_first_.try_emplace(name.first, directories_.size());
        if (fresh)
            directories_.push_back({name.first, name.run, in, name.slot, position});
        else if (known->second != 0) // the root has no name: damage
            second_name(known->second, {in, name.slot, position});
    }

    void second_name(size_t directory, Lost second) {
        Found& known = directories_[directory];
        if (is_parent(directory, second.parent) && !is_parent(directory, known.parent) &&
            !inside(directory, second.parent)) {
            std::swap(known.parent, second.parent);
            std::swap(known.slot, second.slot);
            std::swap(known.position, second.position);
        }
        lost_.push_back(second);
    }

    /// By the directory's own word.
    bool is_parent(size_t directory, size_t parent) {
        std::array<std::byte, NameReader::head_size> head;
        if (!device_.read(heap_.offset_of(Cluster(directories_[directory].first)), head))
            return false;
        auto said = reader_.parent(head);
        return said && (*said == directories_[parent].first || (*said == 0 && parent == 0));
    }

    /// `what` is `directory` or below it. Where a damaged tree has so many names that to tell would
    /// take long, it is.
    bool inside(size_t directory, size_t what) {
        for (; what != 0 && steps_left_ > 0; what = directories_[what].parent, steps_left_--)
            if (what == directory) return true;
        return what != 0;
    }

    static constexpr uint32_t dirent_size = 32;
    /// Of a directory: half a million entries. A chain that lies may be as long as the volume.
    static constexpr size_t most_bytes = 16u << 20;

    host::BlockDevice& device_;
    const Heap& heap_;
    ChainTable& table_;
    NameReader& reader_;
    std::vector<Found> directories_; // the root first
    std::vector<Lost> lost_;
    std::vector<uint32_t> files_;
    std::unordered_map<uint32_t, size_t> by_first_; // directories
    std::unordered_set<uint32_t> visited_;          // clusters of directories
    uint32_t steps_left_ = 10'000'000;
};

void Twins::search(host::BlockDevice& device, const Heap& heap, ChainTable& table, const Root& root,
                   NameReader& reader) {
    Search search(device, heap, table, reader);
    search.run(root);
    MutexGuard guard(mutex_);
    for (const Hidden& name : search.hidden()) hidden_.emplace(name.position, name);
    const std::vector<uint32_t>& files = search.files();
    for (size_t i = 1; i < files.size(); i++)
        if (files[i] == files[i - 1]) shared_.try_emplace(files[i], 1).first->second++;
    any_hidden_ = !hidden_.empty();
    any_shared_ = !shared_.empty();
}

std::string Twins::found() const {
    MutexGuard guard(mutex_);
    auto count = [](size_t n, const char* one, const char* more) {
        return n == 0 ? std::string() : fmt::format("{} {}", n, n == 1 ? one : more);
    };
    std::string directories = count(hidden_.size(), "directory", "directories");
    std::string files = count(shared_.size(), "file", "files");
    return directories + (directories.empty() || files.empty() ? "" : ", ") + files;
}

bool Twins::hides(uint64_t position) const {
    if (!any_hidden_.load(std::memory_order_acquire)) return false;
    MutexGuard guard(mutex_);
    return hidden_.contains(position);
}

std::vector<Twins::Hidden> Twins::hidden() const {
    std::vector<Hidden> list;
    MutexGuard guard(mutex_);
    for (const auto& [position, name] : hidden_) list.push_back(name);
    return list;
}

void Twins::dropped(const Hidden& name) {
    MutexGuard guard(mutex_);
    hidden_.erase(name.position);
    any_hidden_ = !hidden_.empty();
}

bool Twins::shares(Cluster first) const {
    if (!any_shared_.load(std::memory_order_acquire)) return false;
    MutexGuard guard(mutex_);
    return shared_.contains(first.value());
}

bool Twins::leave(Cluster first) {
    if (!any_shared_.load(std::memory_order_acquire)) return false;
    MutexGuard guard(mutex_);
    auto at = shared_.find(first.value());
    if (at == shared_.end()) return false;
    if (--at->second == 1) shared_.erase(at);
    any_shared_ = !shared_.empty();
    return true;
}

} // namespace rump::clusters
