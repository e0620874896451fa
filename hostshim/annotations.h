// Clang thread-safety annotations (https://clang.llvm.org/docs/ThreadSafetyAnalysis.html) under
// the names that Clang's own documentation uses, and nothing on other compilers.
#pragma once

#if defined(__clang__)
#define RUMP_TSA(x) __attribute__((x))
#else
#define RUMP_TSA(x)
#endif

#define CAPABILITY(x) RUMP_TSA(capability(x))
#define SCOPED_CAPABILITY RUMP_TSA(scoped_lockable)
#define GUARDED_BY(x) RUMP_TSA(guarded_by(x))
#define PT_GUARDED_BY(x) RUMP_TSA(pt_guarded_by(x))
#define REQUIRES(...) RUMP_TSA(requires_capability(__VA_ARGS__))
#define REQUIRES_SHARED(...) RUMP_TSA(requires_shared_capability(__VA_ARGS__))
#define ACQUIRE(...) RUMP_TSA(acquire_capability(__VA_ARGS__))
#define ACQUIRE_SHARED(...) RUMP_TSA(acquire_shared_capability(__VA_ARGS__))
#define RELEASE(...) RUMP_TSA(release_capability(__VA_ARGS__))
#define RELEASE_SHARED(...) RUMP_TSA(release_shared_capability(__VA_ARGS__))
#define RELEASE_GENERIC(...) RUMP_TSA(release_generic_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) RUMP_TSA(try_acquire_capability(__VA_ARGS__))
#define TRY_ACQUIRE_SHARED(...) RUMP_TSA(try_acquire_shared_capability(__VA_ARGS__))
#define EXCLUDES(...) RUMP_TSA(locks_excluded(__VA_ARGS__))
#define ASSERT_CAPABILITY(x) RUMP_TSA(assert_capability(x))
#define ASSERT_SHARED_CAPABILITY(x) RUMP_TSA(assert_shared_capability(x))
#define NO_THREAD_SAFETY_ANALYSIS RUMP_TSA(no_thread_safety_analysis)
