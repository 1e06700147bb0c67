//! What has been decided: bytes on their way out, verdicts, and the account.

use bytes::{Bytes, BytesMut};

use crate::mask::{self, Keyed, Place};
use crate::rules::{Action, Hit, Rules};
use crate::{Coverage, Stream, Verdict};

/// The most verdicts that are kept until somebody takes them; later ones are only counted.
const VERDICTS_MAX: usize = 4096;

/// Collects what one stream lets go.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    out: BytesMut,
    /// Where in the output a rule that withholds or refuses was hit.
    pub(crate) stops: Vec<(usize, Hit)>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) coverage: Coverage,
    /// Raw bytes decided so far.
    pub(crate) offset: u64,
    pub(crate) row: u64,
    scratch: Vec<u8>,
}

impl Sink {
    pub(crate) fn pass(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.coverage.passed += bytes.len() as u64;
        self.offset += bytes.len() as u64;
    }

    /// Bytes that are dropped without a trace of their own: the rest of a value that is masked.
    pub(crate) fn swallow(&mut self, size: usize) {
        self.coverage.masked += size as u64;
        self.offset += size as u64;
    }

    /// Replaces `value`, or lets it pass where its rule withholds or refuses.
    pub(crate) fn value(
        &mut self,
        rules: &Rules,
        session: &[u8],
        stream: Stream,
        value: &[u8],
        found: Value,
        long: bool,
    ) {
        let compiled = rules.compiled();
        if self.verdicts.len() < VERDICTS_MAX {
            self.verdicts.push(Verdict {
                rule: found.hit.rule,
                field: compiled.what(found.hit).to_owned(),
                format: found.format,
                stream,
                offset: self.offset,
                length: value.len() as u64,
                row: self.row,
            });
        }
        match compiled.action(found.hit) {
            Action::Mask(mask) => {
                let keyed = Keyed {
                    key: &compiled.token_key,
                    session,
                    field: compiled.what(found.hit),
                };
                self.scratch.clear();
                if long {
                    // Of a value whose end was not waited for nothing can be kept.
                    self.scratch.extend_from_slice(b"***");
                } else {
                    mask::replace(&mut self.scratch, mask, value, found.place, keyed);
                }
                if found.begins_scalar
                    && matches!(found.place, Place::Word | Place::Inside)
                    && let Some(first) = self.scratch.first_mut()
                    && *first == b'*'
                {
                    *first = b'x';
                }
                self.out.extend_from_slice(&self.scratch);
                self.swallow(value.len());
            }
            Action::Hold(_) | Action::Refuse => {
                self.stops.push((self.out.len(), found.hit));
                self.pass(value);
            }
        }
    }

    pub(crate) fn take(&mut self) -> Bytes {
        self.out.split().freeze()
    }
}

/// A value that was found, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) hit: Hit,
    pub(crate) place: Place,
    pub(crate) format: &'static str,
    /// A star here would mean something else (an alias in YAML).
    pub(crate) begins_scalar: bool,
}
