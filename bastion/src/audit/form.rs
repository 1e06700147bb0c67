//! The forms in which events of the log are given to others.

use serde_json::{Map, Value};

/// How events look outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Events of OCSF 1.3.
    Ocsf,
    /// ArcSight's Common Event Format.
    Cef,
    /// The lines as they are chained.
    Json,
}

impl Form {
    /// A line of the log, and what stands in it, in this form: one line, without its end.
    pub fn of(self, line: &[u8], event: &Map<String, Value>) -> Vec<u8> {
        match self {
            Self::Json => line.to_vec(),
            Self::Ocsf => super::ocsf(event).to_string().into_bytes(),
            Self::Cef => super::cef(event).into_bytes(),
        }
    }
}
