/*
 * libukfs: files of an image in a process of its own, without a mount, privilege or /dev/fuse.
 * libukfs(3).
 *
 * Functions return 0 or a count, or a negative errno. A handle may be used by several threads at
 * once. Paths start at the root of the file system, with or without a leading slash; symbolic links
 * are followed within it. Names are bytes. Times are seconds and nanoseconds since 1970, UTC.
 */
#ifndef RUMP_UKFS_H
#define RUMP_UKFS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ukfs;      /* a file system in use */
struct ukfs_file; /* an open file of it */

/* Why something failed, in one line without a full stop. */
struct ukfs_error {
    int code; /* a positive errno */
    char text[512];
};

struct ukfs_time {
    int64_t sec;
    uint32_t nsec;
};

struct ukfs_stat {
    uint64_t ino;
    uint32_t generation;
    uint32_t mode; /* type and permissions, as st_mode on Linux */
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    uint32_t rdev_major;
    uint32_t rdev_minor;
    uint32_t block_size;
    uint64_t size;
    uint64_t blocks; /* of 512 bytes */
    struct ukfs_time atime;
    struct ukfs_time mtime;
    struct ukfs_time ctime;
    struct ukfs_time btime; /* zeros where the format has none */
    uint64_t flags;         /* FS_IOC_GETFLAGS bits of Linux in the low half */
};

struct ukfs_statvfs {
    uint32_t block_size;
    uint32_t fragment_size; /* unit of the counts */
    uint64_t blocks;
    uint64_t blocks_free;
    uint64_t blocks_available; /* to unprivileged users */
    uint64_t files;
    uint64_t files_free;
    uint64_t fsid;
    uint32_t name_max;
    int read_only;
};

/* ---- a file system ---- */

enum {
    UKFS_LOG_DEBUG,
    UKFS_LOG_INFO,
    UKFS_LOG_WARNING,
    UKFS_LOG_ERROR,
};

struct ukfs_open_args {
    const char* type;    /* "ext2fs"; null: found out */
    const char* options; /* as after -o, ukfs(1); may be null */
    int read_only;       /* the image is opened for reading only and never changes */
    int background;      /* starts a thread that writes changes back within 5 s */
    /* Called with messages of the file system, from any thread; may be null. */
    void (*log)(void* arg, int level, const char* message);
    void* log_arg;
};

/*
 * Opens the file system of an image: a file, a block device, or a partition of one
 * ("disk.img%PART:e%"); null for file systems without a device. `args` and `error` may be null.
 * Errors leave null in `out`: ENOENT, EACCES, EBUSY (in use, for longer than a second), EINVAL (no
 * such file system, bad option), EUCLEAN, EROFS, EOPNOTSUPP …
 */
int ukfs_open(const char* image, const struct ukfs_open_args* args, struct ukfs** out,
              struct ukfs_error* error);

/*
 * Writes everything back, marks the image clean and ends `fs`. EBUSY: files are open and `force` is
 * 0, `fs` stays. EIO: the image may be incomplete; `fs` is gone. With `force` open files answer EIO
 * from then on and still want to be closed.
 */
int ukfs_release(struct ukfs* fs, int force);

/* Whom operations are done for. At first uid 0, to whom everything is allowed. Not while others
 * run. */
int ukfs_set_user(struct ukfs* fs, uint32_t uid, uint32_t gid, const uint32_t* groups,
                  size_t group_count);

/* What `error` (as returned, negative) means; with the place of the damage, where the file system
 * said one. The length of the whole text. */
size_t ukfs_error_text(struct ukfs* fs, int error, char* text, size_t size);

int ukfs_statvfs(struct ukfs* fs, struct ukfs_statvfs* out);
int ukfs_sync(struct ukfs* fs);
/* Facts: "type", "label", "uuid", "features" … as the format has them. */
int ukfs_info(struct ukfs* fs, void (*fact)(void* arg, const char* name, const char* value),
              void* arg);
/* Counters of the caches: "name_cache.hits" … */
int ukfs_counters(struct ukfs* fs, void (*counter)(void* arg, const char* name, uint64_t value),
                  void* arg);

/* ---- by path ---- */

/* For functions with `flags`: do not follow a symbolic link at the end of the path. */
#define UKFS_NOFOLLOW 1

int ukfs_stat(struct ukfs* fs, const char* path, struct ukfs_stat* out);
int ukfs_lstat(struct ukfs* fs, const char* path, struct ukfs_stat* out);
/* `mode`: any of 4 (read), 2 (write), 1 (execute, search); 0: it exists. */
int ukfs_access(struct ukfs* fs, const char* path, int mode);

/* A new file; EEXIST. Modes are taken as they are, there is no umask. */
int ukfs_create(struct ukfs* fs, const char* path, uint32_t mode);
/* The type is that of `mode` (S_IFIFO, S_IFCHR, S_IFBLK, S_IFSOCK, S_IFREG). */
int ukfs_mknod(struct ukfs* fs, const char* path, uint32_t mode, uint32_t rdev_major,
               uint32_t rdev_minor);
int ukfs_mkdir(struct ukfs* fs, const char* path, uint32_t mode);
int ukfs_symlink(struct ukfs* fs, const char* target, const char* path);
/* A symbolic link `from` gets the second name itself. */
int ukfs_link(struct ukfs* fs, const char* from, const char* to);
int ukfs_unlink(struct ukfs* fs, const char* path);
int ukfs_rmdir(struct ukfs* fs, const char* path);
#define UKFS_RENAME_NOREPLACE 1
#define UKFS_RENAME_EXCHANGE 2
int ukfs_rename(struct ukfs* fs, const char* from, const char* to, int flags);
/* The length of the whole target; not terminated. */
int64_t ukfs_readlink(struct ukfs* fs, const char* path, char* target, size_t size);

int ukfs_chmod(struct ukfs* fs, const char* path, uint32_t mode);
/* UKFS_KEEP leaves one of the two as it is. */
#define UKFS_KEEP UINT32_MAX
int ukfs_chown(struct ukfs* fs, const char* path, uint32_t uid, uint32_t gid, int flags);
/* Null: leave that one. */
int ukfs_utimens(struct ukfs* fs, const char* path, const struct ukfs_time* atime,
                 const struct ukfs_time* mtime, int flags);
/* Both times become now. */
int ukfs_touch(struct ukfs* fs, const char* path, int flags);
int ukfs_truncate(struct ukfs* fs, const char* path, uint64_t size);
int ukfs_set_flags(struct ukfs* fs, const char* path, uint64_t file_flags);

/* Bytes moved: fewer than asked at the end of the file, or when space ran out. */
int64_t ukfs_pread(struct ukfs* fs, const char* path, void* data, size_t size, uint64_t offset);
int64_t ukfs_pwrite(struct ukfs* fs, const char* path, const void* data, size_t size,
                    uint64_t offset);

/* Names are whole: "user.mime_type". The value's size; size 0 only asks for it. ERANGE: too small.
 */
int64_t ukfs_getxattr(struct ukfs* fs, const char* path, const char* name, void* value, size_t size,
                      int flags);
#define UKFS_XATTR_CREATE 2
#define UKFS_XATTR_REPLACE 4
int ukfs_setxattr(struct ukfs* fs, const char* path, const char* name, const void* value,
                  size_t size, int flags);
int ukfs_removexattr(struct ukfs* fs, const char* path, const char* name, int flags);
/* Calls `name` for each. */
int ukfs_listxattr(struct ukfs* fs, const char* path, void (*name)(void* arg, const char* name),
                   void* arg, int flags);

struct ukfs_dirent {
    uint64_t ino;
    uint32_t type; /* DT_* of Linux; 0: look at the attributes */
    uint32_t name_length;
    const char* name;                   /* terminated; goes with the call */
    const struct ukfs_stat* attributes; /* null unless asked for */
};
/* Also fetch attributes (as lstat). An entry that goes meanwhile, or is damaged, has none. */
#define UKFS_READDIR_ATTRIBUTES 2
/* Calls `entry` for every entry, "." and ".." included; other than 0 ends the reading, and is
 * returned. The callback may use `fs`. */
int ukfs_readdir(struct ukfs* fs, const char* path,
                 int (*entry)(void* arg, const struct ukfs_dirent* dirent), void* arg, int flags);

/* ---- open files ---- */

#define UKFS_READ 1
#define UKFS_WRITE 2
#define UKFS_CREATE 4 /* make it when missing, with `mode` */
#define UKFS_EXCLUSIVE 8
#define UKFS_TRUNCATE 16
#define UKFS_APPEND 32 /* writes go to the end, whatever their offset */
int ukfs_file_open(struct ukfs* fs, const char* path, int flags, uint32_t mode,
                   struct ukfs_file** out);
void ukfs_file_close(struct ukfs_file* file);
int64_t ukfs_file_pread(struct ukfs_file* file, void* data, size_t size, uint64_t offset);
int64_t ukfs_file_pwrite(struct ukfs_file* file, const void* data, size_t size, uint64_t offset);
int ukfs_file_stat(struct ukfs_file* file, struct ukfs_stat* out);
int ukfs_file_truncate(struct ukfs_file* file, uint64_t size);
int ukfs_file_sync(struct ukfs_file* file);
/* The next data (`hole` 0) or hole from `offset` on; ENXIO: none, or beyond the end. */
int64_t ukfs_file_seek(struct ukfs_file* file, uint64_t offset, int hole);
/* Gives the range's blocks back; it reads as zeros. EOPNOTSUPP. */
int ukfs_file_punch(struct ukfs_file* file, uint64_t offset, uint64_t length);
/* Copies within the file system; bytes copied. */
int64_t ukfs_file_copy(struct ukfs_file* from, uint64_t from_offset, struct ukfs_file* to,
                       uint64_t to_offset, uint64_t length);

/* ---- images: types, check, newfs ---- */

struct ukfs_type {
    const char* name;
    const char* aliases; /* separated by blanks; "" */
    const char* description;
    int needs_device;
    int can_check;
    int can_newfs;
};
void ukfs_types(void (*type)(void* arg, const struct ukfs_type* type), void* arg);
/* Options of a type, "mount" (0) or "newfs" (1): name, argument's name ("": a flag) and help. */
int ukfs_type_options(const char* type, int newfs,
                      void (*option)(void* arg, const char* name, const char* argument,
                                     const char* help),
                      void* arg);

struct ukfs_probe {
    char type[32];   /* ours; "": none that knows it */
    char label[256]; /* may be "" */
    char uuid[64];   /* may be "" */
    char what[256];  /* in words: "this is an ext4 image" */
};
/* Finds out what an image is. `options`: offset=, size=, part=; may be null. */
int ukfs_probe(const char* image, const char* options, struct ukfs_probe* out,
               struct ukfs_error* error);

struct ukfs_partition {
    unsigned number;
    char letter; /* of a BSD disklabel, or 0 */
    uint64_t offset;
    uint64_t size;
    const char* scheme;
    const char* type;
    const char* name;
    const char* uuid;
};
int ukfs_partitions(const char* image, void (*partition)(void* arg, const struct ukfs_partition* p),
                    void* arg, struct ukfs_error* error);

struct ukfs_finding {
    int severity; /* 0: a note, 1: wrong, 2: fatal */
    const char* code;
    const char* place;
    const char* message;
    int repaired;
};
struct ukfs_check_args {
    const char* type;                                               /* null: found out */
    const char* options;                                            /* may be null */
    int repair;                                                     /* else nothing is written */
    int force;                                                      /* also when marked clean */
    void (*finding)(void* arg, const struct ukfs_finding* finding); /* may be null */
    void* finding_arg;
};
struct ukfs_check_report {
    char type[32];
    int skipped_clean; /* marked clean, not looked at */
    int exit_code;     /* fsck(8): 0 clean, 1 repaired, 4 errors left */
    uint64_t findings;
    uint64_t files;
    uint64_t directories;
    uint64_t blocks_used;
    uint64_t blocks_total;
};
int ukfs_check(const char* image, const struct ukfs_check_args* args,
               struct ukfs_check_report* report, struct ukfs_error* error);

/* Makes an empty file system. `size` other than 0: of that many bytes, the file is made or resized;
 * `options` as after -o: those of the type, offset=, part=. */
int ukfs_newfs(const char* image, const char* type, const char* options, uint64_t size,
               struct ukfs_error* error);

#ifdef __cplusplus
}
#endif

#endif
