//! The command line of losscc.

/// A compiler makes many small things and drops them soon: a tenth of its time with the allocator of most systems.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    losscc::cli::main()
}
