// What a workload of the crash explorer acts through: plain operations by path, and notes, between
// the events of the recording, of what must be there after a cut from now on.
#pragma once

#include "hostshim/random.h"
#include "hostshim/recording_device.h"
#include "kernel/sys/mount.h"

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace rump::crash {

/// A file's contents; none: no such file.
using Contents = std::optional<std::string>;

/// A statement about a path that holds from a mark of the recording on.
struct Note {
    std::string path;
    /// The path has one of these; empty: nothing is promised.
    std::vector<Contents> allowed;
};

/// Words of 8 bytes that say which file they belong to and where: a block of another file, or of
/// none, shows in the first word that is read of it.
namespace content {
std::string make(uint16_t file, uint16_t version, uint64_t offset, uint64_t length);
/// True for words of one file at their places, with zeros between them.
bool plausible(std::span<const std::byte> bytes);
} // namespace content

class Session {
public:
    Session(Mount& mount, host::RecordingDevice& device) : mount_(mount), device_(device) {}

    // Sizes and offsets are multiples of 8. What fails fails the workload, see error().
    void create(const std::string& path);
    void write(const std::string& path, uint64_t offset, uint64_t length);
    void truncate(const std::string& path, uint64_t size);
    void fsync(const std::string& path);
    void sync();
    /// Files, or directories without entries.
    void rename(const std::string& from, const std::string& to);
    void link(const std::string& from, const std::string& to);
    void unlink(const std::string& path);
    void mkdir(const std::string& path);
    void rmdir(const std::string& path);
    void symlink(const std::string& path, const std::string& target);

    bool is_file(const std::string& path) const { return files_.contains(path); }
    bool is_symlink(const std::string& path) const { return symlinks_.contains(path); }
    bool is_dir(const std::string& path) const { return path.empty() || dirs_.contains(path); }
    bool exists(const std::string& path) const;
    bool has_entries(const std::string& dir) const;
    uint64_t size(const std::string& path) const { return files_.at(path)->bytes.size(); }

    /// By mark number.
    const std::vector<Note>& notes() const { return notes_; }
    /// The first failure; empty: none.
    const std::string& error() const { return error_; }

private:
    struct File {
        uint16_t id;
        uint16_t version;
        std::string bytes;
    };
    struct Parent {
        VnodeRef dir;
        std::string name;
    };
    void note(const std::string& path, std::vector<Contents> allowed);
    void changing(const std::string& path) { note(path, {}); }
    void changing_all_names(const std::string& path);
    bool check(bool ok, Errno error, const char* what, const std::string& path);
    template<class T>
    bool check(const Result<T>& result, const char* what, const std::string& path) {
        return check(result.ok(), result.ok() ? Errno::inval : result.error(), what, path);
    }
    Result<Parent> parent(const std::string& path);

    Mount& mount_;
    host::RecordingDevice& device_;
    std::map<std::string, std::shared_ptr<File>> files_; // one for all names of a file
    std::set<std::string> dirs_;
    std::set<std::string> symlinks_;
    std::set<std::string> gone_; // since the last sync
    /// What renames since the last sync took names from: a cut can show it there again.
    std::multimap<std::string, std::shared_ptr<File>> replaced_;
    std::map<std::string, std::vector<Contents>> promised_; // what the last note said
    std::vector<Note> notes_;
    uint16_t next_file_ = 1;
    std::string error_;
};

struct WorkloadOptions {
    unsigned steps = 300;
    bool hard_links = true;
    bool symlinks = true;
    bool long_names = false; // half of the names are up to 90 characters long
};
/// A seeded mixture of all operations, with syncs in between.
void mixed_workload(Session& session, uint64_t seed, const WorkloadOptions& options);

} // namespace rump::crash
