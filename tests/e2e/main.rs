//! What the built programs do with real peers: a file per behaviour.
fn main() {}
