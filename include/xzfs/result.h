// Errors are ordinary values: a call that can fail returns a Result.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <version>
#if defined(__cpp_lib_expected)
#include <expected>
#endif

namespace xzfs {

// What went wrong, for a program that decides by it.
enum class ErrorKind : uint8_t {
  // The system refused: a file, memory or anything else. `code` is its errno.
  kSystem,
  // The content can't be decoded, doesn't match its Check, ends early or isn't compressed. EIO.
  kDamaged,
  // Nothing is wrong with the content: this liblzma lacks a filter or an option of it. EIO.
  kUnsupported,
  // It needs more than a limit allows, which the caller or the documentation sets. EFBIG.
  kOverLimit,
  // The file is no longer the one that was opened. ESTALE.
  kChanged,
  // The caller asked for something that doesn't exist. EINVAL.
  kInvalid,
  // The caller asked to stop. ECANCELED.
  kCancelled,
};

// Why something failed.
struct Error {
  ErrorKind kind = ErrorKind::kSystem;
  // An errno value: what a program gets that asks through a mount.
  int code = 0;
  // One line for people: what failed, on what, why, and what to do about it.
  std::string message;
};

// An error on its way into a Result of any type: `return Failure(other.error());`.
template <class E = Error>
class Failure {
 public:
  explicit Failure(E error) : error_(std::move(error)) {}

  E& error() & { return error_; }
  const E& error() const& { return error_; }
  E&& error() && { return std::move(error_); }

 private:
  E error_;
};

// What value() throws if there is no value.
class BadResult : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A value, or why there is none. It is true if there is a value; `*` and `->` may only be used
// then, and error() only if it is false. value() checks, and throws BadResult with the error's
// message. As thread-safe as the value.
template <class T, class E = Error>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  using error_type = E;

  Result() requires std::is_default_constructible_v<T> : state_(std::in_place_index<0>) {}
  // NOLINTBEGIN(google-explicit-constructor): functions return values, errors and other results.
  // From anything that converts to a T.
  template <class U = T>
  requires(!std::is_same_v<std::remove_cvref_t<U>, Result> && std::is_convertible_v<U&&, T>)
      Result(U&& value)
      : state_(std::in_place_index<0>, std::forward<U>(value)) {}
  Result(Failure<E> failure) : state_(std::in_place_index<1>, std::move(failure).error()) {}
  // From a result with a value that converts to a T.
  template <class U>
  requires(!std::is_same_v<U, T> && std::is_convertible_v<U&&, T> &&
           !std::is_convertible_v<Result<U, E>&&, T>) Result(Result<U, E>&& other)
      : state_(other ? State(std::in_place_index<0>, *std::move(other))
                     : State(std::in_place_index<1>, std::move(other.error()))) {}
  // NOLINTEND(google-explicit-constructor)

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& operator*() & { return *std::get_if<0>(&state_); }
  const T& operator*() const& { return *std::get_if<0>(&state_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }

  T& value() & { return Checked(), **this; }
  const T& value() const& { return Checked(), **this; }
  T&& value() && { return Checked(), *std::move(*this); }
  template <class U>
  T value_or(U&& other) const& {
    return has_value() ? **this : static_cast<T>(std::forward<U>(other));
  }
  template <class U>
  T value_or(U&& other) && {
    return has_value() ? *std::move(*this) : static_cast<T>(std::forward<U>(other));
  }

  E& error() { return *std::get_if<1>(&state_); }
  const E& error() const { return *std::get_if<1>(&state_); }

  // The value that `make` returns for the value, or the same error.
  template <class F>
  Result<std::invoke_result_t<F, const T&>, E> transform(F&& make) const {
    using Made = Result<std::invoke_result_t<F, const T&>, E>;
    return has_value() ? Made(std::forward<F>(make)(**this)) : Made(Failure<E>(error()));
  }

  // There is a value, and it is `value`.
  friend bool operator==(const Result& result, const T& value) {
    return result && *result == value;
  }

#if defined(__cpp_lib_expected)
  operator std::expected<T, E>() && {
    return has_value() ? std::expected<T, E>(*std::move(*this))
                       : std::expected<T, E>(std::unexpect, std::move(error()));
  }
#endif

 private:
  using State = std::variant<T, E>;

  void Checked() const {
    if (!has_value()) {
      throw BadResult(error().message);
    }
  }

  State state_;
};

// Success, or why there is none.
template <class E>
class [[nodiscard]] Result<void, E> {
 public:
  using value_type = void;
  using error_type = E;

  Result() = default;
  Result(Failure<E> failure)  // NOLINT(google-explicit-constructor): functions return errors
      : error_(std::move(failure).error()) {}

  bool has_value() const { return !error_.has_value(); }
  explicit operator bool() const { return has_value(); }
  void value() const {
    if (error_) {
      throw BadResult(error_->message);
    }
  }

  E& error() { return *error_; }
  const E& error() const { return *error_; }

#if defined(__cpp_lib_expected)
  operator std::expected<void, E>() && {
    return error_ ? std::expected<void, E>(std::unexpect, *std::move(error_))
                  : std::expected<void, E>();
  }
#endif

 private:
  std::optional<E> error_;
};

using Status = Result<void>;

}  // namespace xzfs
