//! Where something may happen next in a text.

/// The next event at or after `from`: a byte at which a key, a value or a line may end or begin.
pub(crate) fn event(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    rest.iter().position(|b| CLASS.get(usize::from(*b)).copied().unwrap_or(0) != 0).map(|i| from + i)
}

/// Which bytes are events.
const CLASS: [u8; 256] = {
    let mut class = [0u8; 256];
    let events = b"\n\r:=0123456789@yI_xK->(|{}[]";
    let mut i = 0;
    while i < events.len() {
        class[events[i] as usize] = 1;
        i += 1;
    }
    class[0xe2] = 1;
    class
};
