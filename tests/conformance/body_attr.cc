// Attributes: chmod(2), chown(2), utimensat(2), what stat(2) shows.
#include "tests/conformance/helpers.h"

using namespace rump;
using namespace rump::conformance;

CONFORMANCE("chmod sets every permission bit") {
    if (!fs.traits.owners) return;
    fs.write("f", "");
    fs.mkdir("d");
    for (uint32_t mode : {0u, 0777u, 0644u, 04755u, 02755u, 01777u, 07777u, 0400u, 0100u}) {
        CHECK(fs.chmod("f", mode) == ok);
        CHECK(fs.attr("f").mode == mode);
        CHECK(fs.attr("f").type == FileType::reg);
        CHECK(fs.chmod("d", mode) == ok);
        CHECK(fs.attr("d").mode == mode);
        CHECK(fs.attr("d").type == FileType::dir);
    }
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.attr("f").mode == 0100);
}

CONFORMANCE("a format whose only permission is to write takes the modes and owners of archives") {
    if (fs.traits.owners) return;
    fs.write("f", "x");
    fs.mkdir("d");
    const Attr before = fs.attr("f");
    for (uint32_t mode : {0644u, 0600u, 0755u, 0777u}) {
        CHECK(fs.chmod("f", mode) == ok);
        CHECK(fs.chmod("d", mode) == ok);
        CHECK(fs.attr("f").mode == before.mode);
    }
    CHECK(fs.chmod("f", 0444) == ok);
    CHECK((fs.attr("f").mode & 0222) == 0);
    fs.reopen();
    CHECK((fs.attr("f").mode & 0222) == 0);
    CHECK(fs.chmod("f", 0640) == ok);
    CHECK(fs.attr("f").mode == before.mode);
    CHECK(fs.chmod("f", 04755) == Errno::perm);
    CHECK(fs.chown("f", before.uid, before.gid) == ok);
    CHECK(fs.chown("f", before.uid + 7, keep_id) == Errno::perm);
}

CONFORMANCE("chmod moves the ctime only") {
    if (!fs.traits.owners) return;
    fs.write("f", "");
    const Attr before = fs.attr("f");
    fs.tick();
    fs.chmod("f", 0600);
    CHECK(fs.attr("f").ctime > before.ctime);
    CHECK(fs.attr("f").mtime == before.mtime);
    CHECK(fs.attr("f").atime == before.atime);
}

CONFORMANCE("chown sets owner and group, one or both") {
    if (!fs.can_switch_user()) return;
    fs.write("f", "");
    const Attr before = fs.attr("f");
    fs.tick();
    CHECK(fs.chown("f", 11, 12) == ok);
    CHECK(fs.attr("f").uid == 11);
    CHECK(fs.attr("f").gid == 12);
    CHECK(fs.attr("f").ctime > before.ctime);
    CHECK(fs.attr("f").mtime == before.mtime);
    CHECK(fs.chown("f", 13, keep_id) == ok);
    CHECK(fs.attr("f").gid == 12);
    CHECK(fs.chown("f", keep_id, 14) == ok);
    CHECK(fs.attr("f").uid == 13);
    CHECK(fs.attr("f").gid == 14);
}

CONFORMANCE("owners are 32 bits wide") {
    if (!fs.can_switch_user()) return;
    fs.write("f", "");
    CHECK(fs.chown("f", 4'000'000'000u, 3'999'999'999u) == ok);
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.attr("f").uid == 4'000'000'000u);
    CHECK(fs.attr("f").gid == 3'999'999'999u);
    CHECK(fs.chown("f", 65'536, 65'535) == ok);
    CHECK(fs.attr("f").uid == 65'536);
    CHECK(fs.attr("f").gid == 65'535);
}

CONFORMANCE("times are kept to the format's grain") {
    fs.write("f", "");
    fs.mkdir("d");
    const Timespec a{1'234'567'890, 123'456'789};
    const Timespec m{1'600'000'001, 999'999'999};
    for (const char* path : {"f", "d"}) {
        CHECK(fs.utimes(path, {SetTime::Kind::at, a}, {SetTime::Kind::at, m}) == ok);
        if (!host_keeps_time(fs, path, m)) CHECK(fs.attr(path).mtime == as_stored(fs, m));
        if (fs.traits.time_granularity_ns == 1) CHECK(fs.attr(path).atime == a);
    }
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.attr("f").mtime == as_stored(fs, m));
    CHECK(fs.attr("d").mtime == as_stored(fs, m));
}

CONFORMANCE("times before 1970 and far in the future are kept or clamped") {
    fs.write("f", "");
    for (int64_t sec : {int64_t{-1}, int64_t{-1'000'000'000}, int64_t{-2'147'483'648},
                        int64_t{2'147'483'647}, int64_t{2'147'483'648}, int64_t{4'294'967'296},
                        int64_t{10'000'000'000}, int64_t{15'032'385'535}}) {
        CHECK(fs.utimes("f", at(sec, 5000), at(sec, 5000)) == ok);
        if (!host_keeps_time(fs, "f", {sec, 0}))
            CHECK(fs.attr("f").mtime.sec == as_stored(fs, {sec, 0}).sec);
        if (!fs.traits.persistent) continue;
        fs.reopen();
        CHECK(fs.attr("f").mtime.sec == as_stored(fs, {sec, 0}).sec);
    }
}

CONFORMANCE("a time beyond the format is the nearest that it holds") {
    if (fs.traits.time_max == INT64_MAX) return;
    fs.write("f", "");
    fs.mkdir("d");
    for (const char* path : {"f", "d"}) {
        // A host that caches writes keeps a file's mtime as it was set, until it forgets the file.
        const auto clamped = [&](int64_t wanted) {
            if (!fs.asks_at_open() && fs.attr(path).type == FileType::reg) fs.reopen();
            return fs.attr(path).mtime.sec == as_stored(fs, {wanted, 0}).sec;
        };
        CHECK(fs.utimes(path, time_omit, at(fs.traits.time_max + 1'000'000)) == ok);
        CHECK(clamped(fs.traits.time_max));
        CHECK(fs.utimes(path, time_omit, at(fs.traits.time_min - 1'000'000)) == ok);
        CHECK(clamped(fs.traits.time_min));
    }
}

CONFORMANCE("utimes sets one time, both, or now; the ctime is always now") {
    fs.write("f", "");
    const Timespec start = fs.attr("f").ctime;
    fs.tick();
    fs.utimes("f", time_omit, at(5000));
    const Attr one = fs.attr("f");
    if (!host_keeps_time(fs, "f", {5000, 0})) CHECK(one.mtime == as_stored(fs, {5000, 0}));
    if (fs.traits.ctime) CHECK(one.ctime > start);
    fs.utimes("f", at(86'400 * 365), time_omit);
    CHECK(fs.attr("f").mtime == one.mtime);
    fs.tick();
    fs.utimes("f", time_now, time_now);
    const Attr now = fs.attr("f");
    CHECK(now.mtime > start);
    CHECK(now.ctime > one.ctime);
    CHECK(now.mtime <= now.ctime);
    const Timespec before = now.ctime;
    fs.tick();
    fs.utimes("f", time_omit, time_omit);
    CHECK(fs.attr("f").ctime == before);
    CHECK(fs.utimes("missing", time_now, time_now) == Errno::noent);
}

CONFORMANCE("the time of birth stays") {
    if (!fs.traits.btime) return;
    fs.write("f", "x");
    const auto born = fs.attr("f").btime;
    if (!born && !fs.asks_at_open()) return; // FUSE has to be new enough for statx
    REQUIRE(born.has_value());
    fs.tick();
    fs.write("f", "changed");
    if (fs.traits.owners) fs.chmod("f", 0600);
    fs.utimes("f", at(1000), at(1000));
    fs.rename("f", "g");
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.attr("g").btime == born);
}

CONFORMANCE("reading a file leaves mtime and ctime") {
    fs.write("f", pattern(10'000));
    const Attr before = fs.attr("f");
    fs.tick();
    fs.read("f");
    CHECK(fs.attr("f").mtime == before.mtime);
    CHECK(fs.attr("f").ctime == before.ctime);
}

CONFORMANCE("reading what changed since moves the atime") {
    if (fs.traits.time_granularity_ns > 1'000'000'000) return;
    fs.write("f", pattern(10'000));
    // Older than the mtime: relatime has to move it.
    fs.utimes("f", at(1'000'000), at(2'000'000'000 - 1'000'000'000));
    fs.tick();
    fs.read("f");
    if (!fs.is_direct()) return; // over a mount, whose turn it is depends on the host's options
    CHECK(fs.attr("f").atime.sec > 1'000'000);
}

CONFORMANCE("stat says the same by path and by descriptor") {
    fs.write("f", pattern(12'345));
    auto file = fs.open("f");
    const Attr by_path = fs.attr("f");
    const Attr by_file = file->stat().take();
    CHECK(by_path.number == by_file.number);
    CHECK(by_path.size == by_file.size);
    CHECK(by_path.mode == by_file.mode);
    CHECK(by_path.mtime == by_file.mtime);
    CHECK(by_path.nlink == by_file.nlink);
    CHECK(by_path.size == 12'345);
    CHECK(by_path.block_size >= 512);
}

CONFORMANCE("fifos, sockets and devices keep type, mode and number") {
    if (!fs.traits.special_files || !fs.can_switch_user()) return;
    fs.mknod("fifo", FileType::fifo, 0640);
    fs.mknod("sock", FileType::sock, 0600);
    fs.mknod("null", FileType::chr, 0666, {1, 3});
    fs.mknod("disk", FileType::blk, 0660, {8, 17});
    fs.mknod("wide", FileType::chr, 0600, {300, 70'000});
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.attr("fifo").type == FileType::fifo);
    CHECK(fs.attr("fifo").mode == 0640);
    CHECK(fs.attr("sock").type == FileType::sock);
    CHECK(fs.attr("null").type == FileType::chr);
    CHECK(fs.attr("null").rdev == DeviceNumber{1, 3});
    CHECK(fs.attr("disk").type == FileType::blk);
    CHECK(fs.attr("disk").rdev == DeviceNumber{8, 17});
    CHECK(fs.attr("wide").rdev == DeviceNumber{300, 70'000});
    CHECK(fs.attr("disk").size == 0);
    CHECK(fs.mknod("fifo", FileType::fifo) == Errno::exist);
    CHECK(fs.link("fifo", "again") == ok);
    CHECK(fs.attr("again").nlink == 2);
    for (const char* name : {"fifo", "again", "sock", "null", "disk", "wide"})
        CHECK(fs.unlink(name) == ok);
}

CONFORMANCE("a format without special files says so") {
    if (fs.traits.special_files) return;
    CHECK(fails_with_one_of(fs.mknod("p", FileType::fifo), {Errno::perm, Errno::opnotsupp}));
    CHECK(fs.lstat("p") == Errno::noent);
}

CONFORMANCE("mknod makes a regular file, too") {
    CHECK(fs.mknod("f", FileType::reg, 0640) == ok);
    CHECK(fs.attr("f").type == FileType::reg);
    fs.write("f", "x");
    CHECK(fs.read("f") == "x");
    CHECK(fs.mknod("missing/f", FileType::reg) == Errno::noent);
    CHECK(fs.mknod("f/g", FileType::reg) == Errno::notdir);
}
