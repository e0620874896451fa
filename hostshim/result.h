// Result<T, E>: a value or why there is none. Carried up with TRY(); no exception crosses a layer.
//
//     Result<Inode> read_inode(InodeNumber ino) {
//         auto buf = TRY(cache.read(...));        // returns the error to our caller
//         ...
//         return inode;                           // or: return Errno::noent;
//     }
//
// E is Errno where operations run often, Failure (an Errno with a sentence for the user) where an
// image or a mount is opened. An Errno converts to a Failure, never the other way round silently.
#pragma once

#include "hostshim/assertion.h"
#include "hostshim/error.h"

#include <string>
#include <utility>
#include <variant>

namespace rump {

/// Why opening, mounting, making or checking failed: one line for the user, without the program's
/// and the image's name, no full stop.
struct [[nodiscard]] Failure {
    Errno code;
    std::string text;

    Failure(Errno code) : code(code), text(errno_message(code)) {}
    Failure(Errno code, std::string text) : code(code), text(std::move(text)) {}
};

template<class T, class E = Errno>
class [[nodiscard]] Result {
public:
    using value_type = T;
    using error_type = E;

    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(E error) : state_(std::in_place_index<1>, std::move(error)) {}
    template<class F>
        requires(!std::same_as<F, E> && std::convertible_to<F, E> && !std::convertible_to<F, T>)
    Result(F&& error) : state_(std::in_place_index<1>, E(std::forward<F>(error))) {}

    bool ok() const { return state_.index() == 0; }
    explicit operator bool() const { return ok(); }

    T& value() & { ASSERT(ok()); return *std::get_if<0>(&state_); }
    const T& value() const& { ASSERT(ok()); return *std::get_if<0>(&state_); }
    T&& value() && { ASSERT(ok()); return std::move(*std::get_if<0>(&state_)); }
    T release_value() { ASSERT(ok()); return std::move(*std::get_if<0>(&state_)); }
    T value_or(T other) const { return ok() ? *std::get_if<0>(&state_) : std::move(other); }

    const E& error() const { ASSERT(!ok()); return *std::get_if<1>(&state_); }
    E release_error() { ASSERT(!ok()); return std::move(*std::get_if<1>(&state_)); }

    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }

private:
    std::variant<T, E> state_;
};

template<class E>
class [[nodiscard]] Result<void, E> {
public:
    using value_type = void;
    using error_type = E;

    Result() = default;
    Result(E error) : state_(std::in_place_index<1>, std::move(error)) {}
    template<class F>
        requires(!std::same_as<F, E> && std::convertible_to<F, E>)
    Result(F&& error) : state_(std::in_place_index<1>, E(std::forward<F>(error))) {}

    bool ok() const { return state_.index() == 0; }
    explicit operator bool() const { return ok(); }
    void value() const { ASSERT(ok()); }
    void release_value() { ASSERT(ok()); }
    const E& error() const { ASSERT(!ok()); return *std::get_if<1>(&state_); }
    E release_error() { ASSERT(!ok()); return std::move(*std::get_if<1>(&state_)); }

private:
    std::variant<std::monostate, E> state_;
};

template<class T>
using FailureOr = Result<T, Failure>;

} // namespace rump

/// The value of a Result, or return its error from the enclosing function. (GNU statement
/// expression: gcc and clang.)
#define TRY(expression)                                                                            \
    ({                                                                                             \
        auto&& try_result_ = (expression);                                                         \
        if (!try_result_.ok()) return try_result_.release_error();                                 \
        try_result_.release_value();                                                               \
    })
