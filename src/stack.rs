//! The stack for walks that are as deep as what somebody wrote.

/// What no accepted spec exhausts: deep programs (a chain of 10,000 definitions) must not depend on the stack that the
/// caller happens to have.
const STACK: usize = 256 << 20;

/// What is used between a stack's begin and the walks that run on it without another one.
const MARGIN: usize = 16 << 20;

/// Runs `f` with [`STACK`] bytes of stack: those at hand if there are as many, else new ones. Only what is touched takes
/// memory, but to map it and to touch it first takes time, so who runs several stages runs them on one.
pub fn with_stack<T>(f: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK, STACK + MARGIN, f)
}
