// The crash-state explorer: runs a workload on a file system over a recording device, builds the
// states that a cut of power could have left, and sees in each that nothing is lost that was
// synced, nothing is shown that was never written, and that a check makes it whole.
//
// To use it for a file system: fill a Subject, write a TEST_CASE in tests/crash/test_<fs>.cc that
// calls explore() and requires that `complaints` is empty, and a line in tests/crash/meson.build.
//
//     Subject subject{.type = ffs::type(), .name = "FFSv2", .image = *image};
//     subject.check = outside_check({{"fsck_ffs -fy {}", {0, 1}}, ...});
//     REQUIRE(explore(subject, {.states = 400}).complaints == no_complaints);
//
// States. Writes between two flushes may reach the device in any combination. For every flush there
// is the state with all that was flushed; then, as many as asked for, states with a seeded subset
// of what was written since the last flush, up to a seeded moment, one write of them torn at sector
// size. Everything is decided by the seed: a complaint names the state's number, `--only N` builds
// it again.
#pragma once

#include "hostshim/recording_device.h"
#include "kernel/sys/filesystem.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace rump::crash {

/// Empty: all is well. Else what is wrong, for people.
using Complaint = std::string;

struct Subject {
    const FileSystemType& type;
    std::string name;
    /// An empty file system, to be read only. What makes it should get a poisoned() device, so
    /// that blocks shown before they are written are noticed.
    host::BlockDevice& image;
    MountOptions options;
    /// Repairs the state on the device as the format's fsck does; complains when that fails or a
    /// second check still finds something. Called from several threads. Null: nothing to call.
    std::function<Complaint(host::BlockDevice& device)> check;
    /// A mount alone makes the state whole (a journal): called with what our mount and unmount
    /// left, complains when a check finds anything at all. Null: not promised.
    std::function<Complaint(host::BlockDevice& device)> verify_after_mount;
    /// What the workload may use.
    bool hard_links = true;
    bool symlinks = true;
    bool long_names = false; // of up to 90 characters: in formats where they take several entries
    /// No cut leaves a name, an inode or a file's size before what it stands for, synced or not: a
    /// walk of every state finds nothing wrong and no foreign bytes. False: only what was synced is
    /// judged before the check has run.
    bool ordered = true;
    /// Looks at what a cut left before anything mends it, at every eighth state: an outside check
    /// that changes nothing. Called from several threads. Null: nothing to call.
    std::function<Complaint(host::BlockDevice& device)> look_at_cut;
};

struct Options {
    uint64_t states = 500;         // besides those at flushes
    uint64_t flushes = UINT64_MAX; // of those at flushes so many at the most
    unsigned steps = 300;          // operations of the workload
    uint64_t seed = 1;
    unsigned threads = 2;
    std::optional<uint64_t> only; // this state alone
};

struct Outcome {
    uint64_t states = 0;  // looked at
    uint64_t flushes = 0; // of the workload
    uint64_t writes = 0;
    std::vector<Complaint> complaints; // the first twenty
};

Outcome explore(const Subject& subject, const Options& options);
/// The same of what somebody else did on subject.image, mount and unmount included. Nothing is
/// known of what was synced, nor of what files should hold.
Outcome explore_recorded(const Subject& subject, std::vector<host::RecordedEvent> events,
                         const Options& options);

/// A device in memory, full of bytes that no workload writes.
std::unique_ptr<host::BlockDevice> poisoned(uint64_t size);

/// One run of an outside program: "{}" in `command` stands for the image's path; it must end with
/// one of `exit_codes`.
struct OutsideRun {
    std::string command;
    std::vector<int> exit_codes;
    /// What it may say, as a regular expression for all of it. Empty: anything.
    std::string output;
};
/// A Subject::check that writes the device to a file in memory, runs the commands in turn, and
/// takes the file's contents back.
std::function<Complaint(host::BlockDevice&)> outside_check(std::vector<OutsideRun> runs);

} // namespace rump::crash
