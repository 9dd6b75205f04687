//! The command line of losscc.

fn main() -> std::process::ExitCode {
    losscc::cli::main()
}
