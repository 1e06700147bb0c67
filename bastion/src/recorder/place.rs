//! Places of connections: how many there are, and who gives one up when all are taken.
//!
//! `serve` is alone at its socket, and one connection too many of it is refused. At the socket where
//! the audit log is read stands a whole group of users: there a user with several places gives the
//! oldest to whoever comes, so that nobody keeps another away, and who starts anew gets in at once.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// All places of both sockets.
#[derive(Debug, Default)]
pub(super) struct Places {
    serve: Arc<AtomicUsize>,
    redactions: Arc<AtomicUsize>,
    readers: Arc<Mutex<Readers>>,
}

/// Why there is no place for a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoPlace {
    #[error("too many connections: the newest is refused")]
    Full,
    #[error("the user at the other end is not known: {0}")]
    Nobody(io::Error),
    #[error("the connection cannot be kept: {0}")]
    Socket(io::Error),
}

impl Places {
    /// One of those for `serve`.
    pub(super) fn of_serve(&self) -> Result<Taken, NoPlace> {
        Taken::of(&self.serve, CONNECTIONS).ok_or(NoPlace::Full)
    }

    /// One of those that withhold frames.
    pub(super) fn of_redaction(&self) -> Result<Taken, NoPlace> {
        Taken::of(&self.redactions, REDACTIONS).ok_or(NoPlace::Full)
    }

    /// One of those that only read the audit log, for the user at the other end of `stream`: who had
    /// connected it, as the system says.
    pub(super) fn of_reader(&self, stream: &UnixStream) -> Result<Taken, NoPlace> {
        let peer = rustix::net::sockopt::socket_peercred(stream)
            .map_err(|error| NoPlace::Nobody(error.into()))?;
        self.of_user(stream, peer.uid.as_raw())
    }

    fn of_user(&self, stream: &UnixStream, user: u32) -> Result<Taken, NoPlace> {
        let stream = stream.try_clone().map_err(NoPlace::Socket)?;
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let number = readers.admit(user, stream).ok_or(NoPlace::Full)?;
        Ok(Taken::Reader(self.readers.clone(), number))
    }
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(super) enum Taken {
    Serve(Arc<AtomicUsize>),
    Reader(Arc<Mutex<Readers>>, u64),
}

impl Taken {
    /// One more, where there are fewer than `most`; counted here and nowhere else, so that two at
    /// the same moment are never one too many.
    fn of(open: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        open.fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
            (open < most).then_some(open + 1)
        })
        .ok()
        .map(|_| Self::Serve(open.clone()))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        match self {
            Self::Serve(open) => drop(open.fetch_sub(1, Ordering::AcqRel)),
            Self::Reader(readers, number) => {
                let mut readers = readers.lock().unwrap_or_else(PoisonError::into_inner);
                readers.all.retain(|reader| reader.number != *number);
            }
        }
    }
}

/// Who reads the audit log, the oldest first, with those that were told to leave and have not yet.
#[derive(Debug, Default)]
pub(super) struct Readers {
    last: u64,
    all: Vec<Reader>,
    /// When it was last said that one made room.
    said: Option<Instant>,
}

#[derive(Debug)]
struct Reader {
    number: u64,
    user: u32,
    stream: UnixStream,
    leaves: bool,
}

impl Readers {
    /// The number of a new reader. Where all places are taken, the oldest of the user with the most
    /// of them is closed for it: the newcomer's own before another's, and nobody's only one but
    /// the newcomer's.
    fn admit(&mut self, user: u32, stream: UnixStream) -> Option<u64> {
        // One that was closed ends at once, unless its thread waits for the disk. Who has as many of
        // those as there are places waits for them, and nobody else does.
        let leaving = self.all.iter().filter(|reader| reader.leaves);
        if leaving.filter(|reader| reader.user == user).count() >= READERS {
            return None;
        }
        if self.staying().count() >= READERS {
            let gives = self
                .staying()
                .map(|reader| reader.user)
                .filter(|other| *other == user || self.places_of(*other) > 1)
                .max_by_key(|other| (self.places_of(*other), *other == user))?;
            let oldest = self
                .all
                .iter_mut()
                .find(|reader| !reader.leaves && reader.user == gives)?;
            oldest.leaves = true;
            if self.said.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
                self.said = Some(Instant::now());
                tracing::warn!(user = gives, "a reader of the audit log makes room");
            }
            if let Err(error) = oldest.stream.shutdown(Shutdown::Both) {
                tracing::debug!(%error, "it had left");
            }
        }
        self.last += 1;
        self.all.push(Reader {
            number: self.last,
            user,
            stream,
            leaves: false,
        });
        Some(self.last)
    }

    fn staying(&self) -> impl Iterator<Item = &Reader> {
        self.all.iter().filter(|reader| !reader.leaves)
    }

    fn places_of(&self, user: u32) -> usize {
        self.staying().filter(|reader| reader.user == user).count()
    }
}

/// Connections at once.
const CONNECTIONS: usize = 16;
/// Connections at once that withhold frames.
const REDACTIONS: usize = 2;
/// Connections at once that only read the audit log.
const READERS: usize = 4;
/// How often it is said, at most, that one of them makes room, or is refused.
pub(super) const SAID_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test ends at what it does not expect"
    )]

    use std::io::Read;
    use std::thread;

    use super::*;

    /// However many come at once, no more than that have a place, and each gives it back once.
    #[test]
    fn places_are_counted_strictly() {
        let open = Arc::new(AtomicUsize::new(0));
        let highest = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        if let Some(place) = Taken::of(&open, 3) {
                            highest.fetch_max(open.load(Ordering::Acquire), Ordering::AcqRel);
                            drop(place);
                        }
                    }
                });
            }
        });
        assert!(highest.load(Ordering::Acquire) <= 3);
        assert_eq!(open.load(Ordering::Acquire), 0);
    }

    /// A connection of a user, and its other end.
    struct Comes {
        place: Option<Taken>,
        there: UnixStream,
    }

    impl Comes {
        fn to(places: &Places, user: u32) -> Self {
            let (here, there) = UnixStream::pair().unwrap();
            Self {
                place: places.of_user(&here, user).ok(),
                there,
            }
        }

        fn is_in(&self) -> bool {
            self.there.set_nonblocking(true).unwrap();
            let closed = matches!((&self.there).read(&mut [0]), Ok(0));
            self.place.is_some() && !closed
        }
    }

    /// Who comes in turn, and who of them is in at the end.
    #[test]
    fn a_user_with_several_places_gives_the_oldest() {
        let cases: [(&[u32], &[usize]); 7] = [
            (&[1, 1, 1, 1], &[0, 1, 2, 3]),
            // One's own oldest.
            (&[1, 1, 1, 1, 1, 1], &[2, 3, 4, 5]),
            // Another gets in past whoever has them all, and stays however often they come.
            (&[1, 1, 1, 1, 2], &[1, 2, 3, 4]),
            (&[1, 1, 1, 1, 2, 1, 1, 1, 1], &[4, 6, 7, 8]),
            // Who has one and comes anew, too.
            (&[2, 1, 1, 1, 2], &[0, 2, 3, 4]),
            (&[1, 2, 3, 4, 2], &[0, 2, 3, 4]),
            // Each has one: nobody gives theirs.
            (&[1, 2, 3, 4, 5], &[0, 1, 2, 3]),
        ];
        for (users, stay) in cases {
            let places = Places::default();
            let mut come = Vec::new();
            for user in users {
                come.push(Comes::to(&places, *user));
                // Those that are closed leave.
                for one in &mut come {
                    if !one.is_in() {
                        one.place = None;
                    }
                }
            }
            let are_in: Vec<_> = (0..come.len()).filter(|n| come[*n].is_in()).collect();
            assert_eq!(are_in, stay, "{users:?}");
            drop(come);
            assert_eq!(places.readers.lock().unwrap().all.len(), 0);
        }
    }

    /// Those that were closed and do not end, since the disk does not answer, are bounded, too, and
    /// are in nobody else's way.
    #[test]
    fn a_user_has_no_more_threads_than_twice_the_places() {
        let places = Places::default();
        let come: Vec<_> = (0..20).map(|_| Comes::to(&places, 1)).collect();
        assert_eq!(places.readers.lock().unwrap().all.len(), 2 * READERS);
        assert_eq!(come.iter().filter(|one| one.is_in()).count(), READERS);
        let other = Comes::to(&places, 2);
        assert!(other.is_in());
        assert!(!Comes::to(&places, 1).is_in());
        assert!(other.is_in());
    }
}
