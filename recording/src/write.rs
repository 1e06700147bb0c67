//! Writing recordings.
