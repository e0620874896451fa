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

#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <utility>

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

    Result(T value) : ok_(true) { std::construct_at(&value_, std::move(value)); }
    Result(E error) : ok_(false) { std::construct_at(&error_, std::move(error)); }
    template<class F>
    requires(!std::same_as<F, E> && std::convertible_to<F, E> && !std::convertible_to<F, T>)
        Result(F&& error)
        : Result(E(std::forward<F>(error))) {}
    Result(Result&& other) : ok_(other.ok_) {
        if (ok_)
            std::construct_at(&value_, std::move(other.value_));
        else
            std::construct_at(&error_, std::move(other.error_));
    }
    Result(const Result& other) : ok_(other.ok_) {
        if (ok_)
            std::construct_at(&value_, other.value_);
        else
            std::construct_at(&error_, other.error_);
    }
    Result& operator=(Result other) {
        std::destroy_at(this);
        return *std::construct_at(this, std::move(other));
    }
    ~Result() {
        if (ok_)
            std::destroy_at(&value_);
        else
            std::destroy_at(&error_);
    }

    bool ok() const { return ok_; }
    explicit operator bool() const { return ok_; }

    T& value() & {
        ASSERT(ok_);
        return value_;
    }
    const T& value() const& {
        ASSERT(ok_);
        return value_;
    }
    T&& value() && {
        ASSERT(ok_);
        return std::move(value_);
    }
    T release_value() {
        ASSERT(ok_);
        return std::move(value_);
    }
    T value_or(T other) const { return ok_ ? value_ : std::move(other); }

    const E& error() const {
        ASSERT(!ok_);
        return error_;
    }
    E release_error() {
        ASSERT(!ok_);
        return std::move(error_);
    }

    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }

private:
    bool ok_;
    union {
        T value_;
        E error_;
    };
};

template<class E>
class [[nodiscard]] Result<void, E> {
public:
    using value_type = void;
    using error_type = E;

    Result() = default;
    Result(E error) : error_(std::move(error)) {}
    template<class F>
    requires(!std::same_as<F, E> && std::convertible_to<F, E>) Result(F&& error)
        : error_(E(std::forward<F>(error))) {}

    bool ok() const { return !error_.has_value(); }
    explicit operator bool() const { return ok(); }
    void value() const { ASSERT(ok()); }
    void release_value() { ASSERT(ok()); }
    const E& error() const {
        ASSERT(!ok());
        return *error_;
    }
    E release_error() {
        ASSERT(!ok());
        return std::move(*error_);
    }

private:
    std::optional<E> error_;
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
