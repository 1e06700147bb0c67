//! The program `bastion`: everything is in the library.

use std::process::ExitCode;

/// Many small buffers of many connections, made on one thread and freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bastion::cli::main()
}
