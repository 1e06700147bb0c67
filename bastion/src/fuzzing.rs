//! Doors for the fuzzer to parsers that nobody else may use; not in any other build.

/// A console line, as a client typed it.
pub fn console_line(line: &[u8]) {
    crate::console::fuzz_line(line);
}

/// What a stranger may say on the recorder's socket.
pub fn recorder_frames(bytes: &[u8]) {
    crate::recorder::wire::fuzz_frames(bytes);
}

/// What a provider may answer: a key set.
pub fn key_set(body: &[u8]) {
    crate::login::fuzz_key_set(body);
}

/// What both ends of a channel may say on which files go in one direction.
pub fn sftp(bytes: &[u8]) {
    crate::session::fuzz_sftp(bytes);
}
